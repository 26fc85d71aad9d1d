package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	s, err := Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(s.Resolved()))
	for _, no := range []bool{true, false, true, false} {
		t0 := time.Now()
		r, out, err := Run(context.Background(), s, 1, Options{NoLaws: no})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(time.Since(t0), out)
		if !no {
			fmt.Println(r.Verdict())
		}
	}
}
