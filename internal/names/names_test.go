package names

import (
	"slices"
	"testing"
)

func TestNearestFindsWhatWasMeant(t *testing.T) {
	known := []string{"llama-2-70b", "llama-2-7b", "mistral-7b", "qwen2.5-7b"}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"mistral7b", []string{"mistral-7b"}},
		{"Mistral-7B-v0.1", []string{"mistral-7b"}},
		{"lama-2-70b", []string{"llama-2-70b", "llama-2-7b"}},
		{"qwen", []string{"qwen2.5-7b"}},
		{"gpt-4", nil},
		{"", nil},
	} {
		if got := Nearest(c.name, known); !slices.Equal(got, c.want) {
			t.Errorf("Nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestUnknownSaysWhatWouldBeRight(t *testing.T) {
	known := []string{"a40", "h100"}
	for name, want := range map[string]string{
		"a4O": `there is no device named "a4O"; did you mean a40?`,
		"tpu": `there is no device named "tpu"; want one of a40, h100`,
	} {
		if got := Unknown("device", name, known).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	words := []string{"", "a", "ab", "ba", "kitten", "sitting", "mitten"}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance(kitten, sitting) = %d, want 3", d)
	}
	for _, a := range words {
		for _, b := range words {
			if distance(a, b) != distance(b, a) || (distance(a, b) == 0) != (a == b) {
				t.Errorf("distance(%q, %q) = %d is not symmetric or not zero exactly for equals", a, b, distance(a, b))
			}
			for _, c := range words {
				if distance(a, c) > distance(a, b)+distance(b, c) {
					t.Errorf("triangle inequality fails for %q, %q, %q", a, b, c)
				}
			}
		}
	}
}
