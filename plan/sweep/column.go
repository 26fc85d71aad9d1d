package sweep

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"orrery/report"
)

// Column describes a column of the table.
type Column struct {
	Name  string `json:"name"`
	Type  Kind   `json:"type"`
	About string `json:"about"`
}

// leading and trailing are the columns around those of the settings and the figures.
func leading() []Column {
	return []Column{
		{"cell", Whole, "number of the run, from 0"},
		{"setting", Whole, "number of the setting, from 0"},
		{"seed", Seed, "of all random draws of the run"},
	}
}

func trailing() []Column {
	return []Column{
		{"limited_by", Text, "what limits the run"},
		{"doubt", Text, "what makes the figures doubtful"},
		{"error", Text, "why the setting was refused or the run failed; the figures are then empty"},
		{"run", Text, "key of the run: what it depends on, hashed"},
	}
}

// columnsOf returns all columns of a table whose settings have the given ones.
func columnsOf(axes []Column) []Column {
	all := append(leading(), axes...)
	for _, f := range columns {
		all = append(all, Column{f.Name, f.Kind, f.About})
	}
	return append(all, trailing()...)
}

// axisColumns returns the columns of the settings: the keys with underscores for dots, so that
// no query needs quotes. What is a number, a truth or a duration in every setting is one in the
// table; durations are in seconds, and the name says so.
func axisColumns(axes []Axis, settings [][]Setting) ([]Column, error) {
	taken := map[string]string{}
	for _, c := range columnsOf(nil) {
		taken[c.Name] = "a column of every table"
	}
	out := make([]Column, len(axes))
	for i, a := range axes {
		values := make([]string, len(settings))
		for k := range settings {
			values[k] = settings[k][i].Value
		}
		c := Column{Name: columnName(a.Key), Type: kindOf(values), About: a.Key}
		if c.Type == Text && all(values, isDuration) {
			c.Type, c.Name, c.About = Number, c.Name+"_s", a.Key+", seconds"
		}
		if other, ok := taken[c.Name]; ok {
			return nil, fmt.Errorf("the column of %s would be called %s, as is %s; want another key", a.Key, c.Name, other)
		}
		taken[c.Name] = "that of " + a.Key
		out[i] = c
	}
	return out, nil
}

// columnName makes a name of a key that needs no quotes in a query.
func columnName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case r == '"' || r == ' ':
			return -1
		}
		return '_'
	}, key)
}

// kindOf returns the narrowest kind that all values have.
func kindOf(values []string) Kind {
	switch {
	case all(values, isWhole):
		return Whole
	case all(values, isNumber):
		return Number
	case all(values, func(v string) bool { return v == "true" || v == "false" }):
		return Truth
	}
	return Text
}

func all(values []string, is func(string) bool) bool {
	for _, v := range values {
		if !is(v) {
			return false
		}
	}
	return true
}

func isWhole(v string) bool {
	n, err := strconv.ParseInt(v, 10, 64)
	return err == nil && max(n, -n) <= mostWhole
}

func isNumber(v string) bool {
	x, err := strconv.ParseFloat(v, 64)
	return err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
}

func isDuration(v string) bool {
	_, err := time.ParseDuration(bare(v))
	return err == nil
}

// bare returns a value of TOML without quotes.
func bare(v string) string {
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		if v[0] == '"' {
			if text, err := strconv.Unquote(v); err == nil {
				return text
			}
		}
		return v[1 : len(v)-1]
	}
	return v
}

// value returns the value of a setting as it stands in a column: as a figure, or as a text.
func (c *Column) value(v string) (figure report.Number, text string) {
	switch {
	case c.Type == Text:
		return report.None, bare(v)
	case c.Type == Truth:
		return truth(v == "true"), ""
	}
	if x, err := strconv.ParseFloat(v, 64); err == nil {
		return report.Number(x), ""
	}
	d, _ := time.ParseDuration(bare(v)) // of nothing else the column would be of figures
	return report.Number(d.Seconds()), ""
}
