package quality

import (
	"io"
	"slices"
	"strings"
	"unicode"
)

// attribute is a column of an ARFF file: a number, or one of the values.
type attribute struct {
	name   string
	values []string // nil for a number
}

// ReadARFF reads Weka's attribute-relation format, rows in full and not sparse. The last
// attribute is the class and nominal. A feature that is nominal becomes one of 0 and 1 if
// it has two values, and one of these for every value if it has more. Missing values are
// refused. Errors name file and line.
func ReadARFF(name string, in io.Reader) (*Dataset, error) {
	r := newReading(name)
	var attributes []attribute
	data := false
	err := r.lines(in, func(text string) error {
		if text == "" || text[0] == '%' {
			return nil
		}
		if data {
			return r.arffRow(attributes, text)
		}
		keyword, rest, _ := strings.Cut(strings.Map(blank, text), " ")
		switch strings.ToLower(keyword) {
		case "@relation":
			return nil
		case "@attribute":
			a, err := r.arffAttribute(strings.TrimSpace(rest))
			attributes = append(attributes, a)
			return err
		case "@data":
			data = true
			return r.arffFeatures(attributes)
		}
		return r.errorf("%.40q before @data; want @relation, @attribute or @data", keyword)
	})
	if err != nil {
		return nil, err
	}
	return r.done()
}

func blank(c rune) rune {
	if unicode.IsSpace(c) {
		return ' '
	}
	return c
}

// arffAttribute parses what follows @attribute: a name and a type.
func (r *reading) arffAttribute(text string) (attribute, error) {
	name, kind, ok := arffName(text)
	if !ok {
		return attribute{}, r.errorf("an attribute %.40q; want a name and a type", text)
	}
	a := attribute{name: name}
	if inside, ok := strings.CutPrefix(kind, "{"); ok {
		inside, closed := strings.CutSuffix(inside, "}")
		values, ok := arffSplit(inside)
		if !closed || !ok || slices.Contains(values, "") {
			return a, r.errorf("the values of %.40q are %.40q; want {a, b, ...}", name, kind)
		}
		a.values = values
		return a, nil
	}
	switch strings.ToLower(kind) {
	case "numeric", "real", "integer":
		return a, nil
	}
	return a, r.errorf("attribute %.40q is of type %.40q; want numeric, real, integer or {a, b, ...}", name, kind)
}

// arffName cuts a name, quoted or not, off what follows it.
func arffName(text string) (name, rest string, ok bool) {
	if text == "" {
		return "", "", false
	}
	if q := text[0]; q == '\'' || q == '"' {
		end := strings.IndexByte(text[1:], q)
		if end < 0 {
			return "", "", false
		}
		return text[1 : 1+end], strings.TrimSpace(text[end+2:]), true
	}
	end := strings.IndexAny(text, " {")
	if end < 0 {
		return "", "", false
	}
	return text[:end], strings.TrimSpace(text[end:]), true
}

// arffFeatures names the columns of X.
func (r *reading) arffFeatures(attributes []attribute) error {
	if len(attributes) < 2 {
		return r.errorf("%d attributes; want features and, last, the class", len(attributes))
	}
	last := len(attributes) - 1
	if attributes[last].values == nil {
		return r.errorf("the last attribute, %.40q, is a number; want a nominal one, {a, b, ...}, as the class", attributes[last].name)
	}
	for _, a := range attributes[:last] {
		if len(a.values) <= 2 {
			r.Features = append(r.Features, a.name)
			continue
		}
		for _, v := range a.values {
			r.Features = append(r.Features, a.name+"="+v)
		}
	}
	return nil
}

func (r *reading) arffRow(attributes []attribute, text string) error {
	if text[0] == '{' {
		return r.errorf("a sparse row; want all values in full")
	}
	row, ok := arffSplit(text)
	if !ok {
		return r.errorf("a quote that is not closed")
	}
	if len(row) != len(attributes) {
		return r.errorf("%d values; want %d", len(row), len(attributes))
	}
	last := len(attributes) - 1
	for j, a := range attributes[:last] {
		if err := r.arffValue(a, row[j]); err != nil {
			return err
		}
	}
	if class := attributes[last]; !slices.Contains(class.values, row[last]) {
		return r.errorf("class %.40q; want one of %.80q", row[last], class.values)
	}
	return r.add(row[last])
}

// arffValue appends the columns of one feature.
func (r *reading) arffValue(a attribute, text string) error {
	if a.values == nil {
		x, err := r.number(a.name, text)
		r.X = append(r.X, x)
		return err
	}
	k := slices.Index(a.values, text)
	if k < 0 {
		return r.errorf("%s is %.40q; want one of %.80q", a.name, text, a.values)
	}
	if len(a.values) <= 2 {
		r.X = append(r.X, float64(k))
		return nil
	}
	for i := range a.values {
		x := 0.0
		if i == k {
			x = 1
		}
		r.X = append(r.X, x)
	}
	return nil
}

// arffSplit splits at commas outside quotes, and takes quotes and space off the values.
func arffSplit(text string) ([]string, bool) {
	var out []string
	start, quote := 0, byte(0)
	for i := 0; i <= len(text); i++ {
		switch {
		case i == len(text) || text[i] == ',' && quote == 0:
			v := strings.TrimSpace(text[start:i])
			if n := len(v); n >= 2 && (v[0] == '\'' || v[0] == '"') && v[n-1] == v[0] {
				v = v[1 : n-1]
			}
			out = append(out, v)
			start = i + 1
		case quote != 0 && text[i] == quote:
			quote = 0
		case quote == 0 && (text[i] == '\'' || text[i] == '"'):
			quote = text[i]
		}
	}
	return out, quote == 0
}
