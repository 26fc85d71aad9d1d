package sweep

import (
	"io"
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"orrery/report"
)

// schema returns the columns in Parquet, in their order. A struct is made of them since a
// parquet.Group would put them in alphabetical order.
func schema(columns []Column) *parquet.Schema {
	types := map[Kind]reflect.Type{
		Number: reflect.TypeFor[float64](), Whole: reflect.TypeFor[int64](), Truth: reflect.TypeFor[bool](),
		Seed: reflect.TypeFor[uint64](), Text: reflect.TypeFor[string](),
	}
	fields := make([]reflect.StructField, len(columns))
	for i, c := range columns {
		tag := c.Name + ",optional"
		if c.Type == Text {
			tag += ",dict"
		}
		fields[i] = reflect.StructField{
			Name: "C" + strconv.Itoa(i), Type: types[c.Type], Tag: reflect.StructTag("parquet:" + strconv.Quote(tag)),
		}
	}
	return parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface())
}

// parquetRows is the number of rows of a row group: few enough for little memory, enough for
// readers to skip what they do not want.
const parquetRows = 100_000

// writeParquet writes a row a run. What does not exist is null.
func writeParquet(w io.Writer, m *Manifest, rows []Row) error {
	out := parquet.NewWriter(w, schema(m.Columns), parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(parquetRows))
	axes := m.axes()
	line := parquetRow{columns: m.Columns}
	for i := range rows {
		r := &rows[i]
		line.row = line.row[:0]
		line.figure(report.Number(r.Index))
		line.figure(report.Number(r.Index / len(m.Seeds)))
		line.add(parquet.ValueOf(r.Seed))
		for k := range axes {
			figure, text := axes[k].value(r.Settings[k].Value)
			if axes[k].Type == Text {
				line.add(parquet.ValueOf(text))
			} else {
				line.figure(figure)
			}
		}
		for k := range columns {
			line.figure(r.figure(k))
		}
		for _, text := range []string{string(r.Limit), r.Doubt, r.Error, r.Key} {
			line.text(text)
		}
		if _, err := out.WriteRows([]parquet.Row{line.row}); err != nil {
			return err
		}
	}
	return out.Close()
}

// parquetRow gathers the values of a row in the order of the columns.
type parquetRow struct {
	columns []Column
	row     parquet.Row
}

func (p *parquetRow) add(v parquet.Value) { p.row = append(p.row, v.Level(0, 1, len(p.row))) }

func (p *parquetRow) null() { p.row = append(p.row, parquet.NullValue().Level(0, 0, len(p.row))) }

// figure adds a figure as the kind of the column that is next has it.
func (p *parquetRow) figure(v report.Number) {
	switch kind := p.columns[len(p.row)].Type; {
	case !v.Exists():
		p.null()
	case kind == Truth:
		p.add(parquet.ValueOf(v != 0))
	case kind == Whole:
		p.add(parquet.ValueOf(int64(v)))
	default:
		p.add(parquet.ValueOf(float64(v)))
	}
}

// text adds a text, which does not exist if it is empty.
func (p *parquetRow) text(v string) {
	if v == "" {
		p.null()
		return
	}
	p.add(parquet.ValueOf(v))
}
