package calibrate

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const goodTable = `gpu,dtype,fn,elems,reads,writes,time_us,src
t4,fp32,add,1024,2,1,5.5,me
t4,fp32,add,2048,2,1,6.5,me
`

const goodFile = measurementsLine + `
# device: Tesla T4
# date: 2026-11-22

[device]
key,value
gpu,t4
mem_gbps,320

[microbench]
gpu,test,param,value,unit,src
t4,dram_bw,read,245,GB/s,me

[elementwise]
` + goodTable + `
[rownorm]
gpu,dtype,fn,rows,cols,time_us,src
t4,fp32,softmax,128,1024,12.25,me
`

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.orrery")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMeasurementsAreReadAndWritten(t *testing.T) {
	m, err := ReadMeasurements(file(t, goodFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Facts) != 2 || m.Facts[0] != (Fact{"device", "Tesla T4"}) || len(m.Device) != 2 || len(m.Micro) != 1 {
		t.Errorf("facts %v, device %v, microbench %v", m.Facts, m.Device, m.Micro)
	}
	rows := m.Rows["elementwise"]
	if len(rows) != 2 || rows[1].Seconds != 6.5e-6 || rows[1].Args[0] != 2048 || rows[1].Words[0] != "add" || rows[1].Line != 17 {
		t.Errorf("rows %+v", rows)
	}
	path := filepath.Join(t.TempDir(), "again.orrery")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := ReadMeasurements(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Measured{m, again} {
		for name := range x.Rows {
			for i := range x.Rows[name] {
				x.Rows[name][i].File, x.Rows[name][i].Line = "", 0
			}
		}
	}
	if !reflect.DeepEqual(m, again) {
		t.Errorf("written and read again it is\n%+v, was\n%+v", again, m)
	}
	d, err := m.DeviceOf()
	if err != nil || d.Name != "t4-16gb" || d.DRAMBytes != 320e9 {
		t.Errorf("the device is %+v (%v)", d, err)
	}
}

// A table by itself is recognised by its columns, in whatever order they stand.
func TestATableIsKnownByItsColumns(t *testing.T) {
	m, err := ReadMeasurements(file(t, "src,time_us,writes,reads,elems,fn,dtype,gpu\nme,5.5,1,2,1024,add,fp32,t4\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Rows["elementwise"]; len(r) != 1 || r[0].Args[1] != 2 || r[0].Seconds != 5.5e-6 {
		t.Errorf("rows %+v", r)
	}
}

// Files written on other systems have their marks and line ends.
func TestAByteOrderMarkAndCarriageReturnsAreNoMatter(t *testing.T) {
	for _, text := range []string{goodFile, goodTable} {
		m, err := ReadMeasurements(file(t, byteOrderMark+strings.ReplaceAll(text, "\n", "\r\n")))
		if err != nil || len(m.Rows["elementwise"]) == 0 {
			t.Errorf("read %v rows of %q (%v)", m, text[:20], err)
		}
	}
}

func TestBadMeasurementsAreRefusedInOneLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"foreign", "a,b,c\n1,2,3\n", "m.orrery:1: the columns a,b,c are those of no operator"},
		{"binary", "\x7fELF\x00\x01", "m.orrery:1: the columns"},
		{"another version", "# orrery measurements 9\n", `m.orrery:1: first line is "# orrery measurements 9", must be "# orrery measurements 1"`},
		{"torn", goodTable + "t4,fp32,ad", "m.orrery:4: has 3 fields, the header 8; the file seems to be cut off here"},
		{"missing column", strings.Replace(goodFile, "gpu,dtype,fn,elems", "gpu,dtype,fn,elements", 1), `m.orrery:15: elementwise has no column "elems"`},
		{"NaN", strings.Replace(goodTable, "6.5", "NaN", 1), `m.orrery:3: time_us is "NaN", must be a number above 0`},
		{"zero", strings.Replace(goodTable, "6.5", "0", 1), `m.orrery:3: time_us is "0", must be a number above 0`},
		{"negative", strings.Replace(goodTable, "6.5", "-6.5", 1), `m.orrery:3: time_us is "-6.5", must be a number above 0`},
		{"infinite", strings.Replace(goodTable, "6.5", "Inf", 1), `m.orrery:3: time_us is "Inf"`},
		{"no number", strings.Replace(goodTable, "2048", "many", 1), `m.orrery:3: elems is "many", must be a number above 0`},
		{"negative size", strings.Replace(goodTable, "2048", "-1", 1), `m.orrery:3: elems is "-1"`},
		{"nobody's", strings.Replace(goodTable, "6.5,me", "6.5,", 1), "m.orrery:3: gpu and src must be named"},
		{"unknown operator", strings.Replace(goodFile, "[rownorm]", "[rownrom]", 1), `m.orrery:20: there is no section named "rownrom"; did you mean rownorm?`},
		{"outside", measurementsLine + "\nhello\n", `m.orrery:2: "hello" stands outside a section`},
		{"empty section", measurementsLine + "\n[rownorm]", "m.orrery:2: section rownorm has no header"},
		{"torn in a word", goodFile[:len(goodFile)-2], "the line has no end; the file seems to be cut off here"},
		{"column twice", strings.Replace(goodFile, "gpu,dtype,fn,elems", "gpu,dtype,fn,elems,elems", 1), `m.orrery:15: the column "elems" is there twice`},
		{"column too many", strings.Replace(goodFile, "gpu,dtype,fn,elems", "gpu,dtype,fn,colour,elems", 1), `m.orrery:15: elementwise knows no column "colour"`},
		{"open quotation", strings.Replace(goodTable, "6.5,me", "6.5,\"me", 1), "m.orrery:3: a quotation mark is not closed"},
		{"seconds for microseconds", strings.Replace(goodTable, "6.5", "6.5e-6", 1), `m.orrery:3: time_us is "6.5e-6", must be microseconds from 0.0001`},
		{"no lines", strings.Repeat("x", 2*longestLine), "line 1 has more than 1048576 bytes"},
		{"sheet twice", strings.Replace(goodFile, "mem_gbps,320\n", "mem_gbps,320\nmem_gbps,300\n", 1), `section device gives "mem_gbps" twice`},
		{"bad microbench", strings.Replace(goodFile, "245", "-245", 1), `value is "-245", must be a number above 0`},
	} {
		_, err := ReadMeasurements(file(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: said\n\t%v\nwant\n\t%s", c.name, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: said more than a line: %q", c.name, err)
		}
	}
	if _, err := ReadMeasurements(filepath.Join(t.TempDir(), "none.csv")); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestADeviceMustBeOneAndKnown(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"two", strings.Replace(goodTable, "t4,fp32,add,2048", "p4,fp32,add,2048", 1), "m.orrery:3: measured on p4, rows before it on t4; a profile is of one GPU, name it with --gpu"},
		{"unknown", strings.ReplaceAll(goodTable, "t4", "t5"), `there is no gpu named "t5"; want one of`},
		{"sheet", strings.Replace(goodFile, "mem_gbps,320", "mem_gbps,fast", 1), `section device: mem_gbps is "fast", must be a number of 0 or more`},
		{"key", strings.Replace(goodFile, "mem_gbps", "mem_gpbs", 1), `section device: there is no key named "mem_gpbs"; did you mean`},
		{"path", strings.Replace(goodFile, "mem_gbps,320", "name,../../t4", 1), `section device: name is "../../t4", must be one that a file can have`},
		{"half a processor", strings.Replace(goodFile, "mem_gbps,320", "sms,0.5", 1), `section device: sms is "0.5", must be a whole number`},
		{"half a sheet", strings.ReplaceAll(goodFile, "t4", "t5"), "section device: fp32_tflops is missing for t5"},
	} {
		m, err := ReadMeasurements(file(t, c.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = m.DeviceOf(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: said\n\t%v\nwant\n\t%s", c.name, err, c.want)
		}
	}
}

// Whatever is in a file, reading it ends with rows that could have been measured or with
// an error, and what was read can be written and read again.
func FuzzReadMeasurements(f *testing.F) {
	f.Add(goodFile)
	f.Add(goodTable)
	f.Add(measurementsLine + "\n[device]\nkey,value\na,\"b,c\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		path := filepath.Join(dir, "m")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := ReadMeasurements(path)
		if err != nil {
			return
		}
		for _, rows := range m.Rows {
			for _, r := range rows {
				if !(r.Seconds > 0) || r.GPU == "" {
					t.Fatalf("a row that cannot be: %+v", r)
				}
			}
		}
		if err := m.Write(filepath.Join(dir, "again")); err != nil {
			t.Fatal(err)
		}
		again, err := ReadMeasurements(filepath.Join(dir, "again"))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		for name := range m.Rows {
			if len(again.Rows[name]) != len(m.Rows[name]) {
				t.Fatalf("%d rows of %s were written, %d read", len(m.Rows[name]), name, len(again.Rows[name]))
			}
		}
	})
}
