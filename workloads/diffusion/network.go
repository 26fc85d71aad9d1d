package diffusion

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

// networkFiles holds one descriptor per network, each naming the source of its shape.
//
//go:embed networks/*.toml
var networkFiles embed.FS

// Call is what one call of a network is asked for. Fields that are zero take the
// network's own values.
type Call struct {
	Batch  int    // images or clips
	Frames int    // of a clip; 1 for an image
	Passes int    // 2 with classifier-free guidance, which runs as one doubled batch
	Height int    // pixels of the image, not positions of the latent
	Width  int    // pixels
	DType  string // fp16, bf16 or fp32
	Scores bool   // attention scores are materialised, as before fused attention
	Text   int    // tokens of text
}

// Roles of a network in a pipeline.
const (
	RoleDenoiser = "denoiser" // runs once a step
	RoleDecoder  = "decoder"  // latents to pixels
	RoleEncoder  = "encoder"  // text or pixels to what the denoiser takes
)

// Network is a network of which a graph can be had for every size of call.
type Network struct {
	Name     string
	Kind     string // role: denoiser, decoder or encoder
	Default  Call   // what zero fields of a call stand for
	Scale    int    // pixels of a side for each position of the latent; 0 for networks without pixels
	Channels int    // channels of the latent that is denoised; 0 for networks without one

	build func(Call) (*Graph, error)
}

// Load returns the network of the given name, one of [Names].
func Load(name string) (*Network, error) {
	if _, err := networkFiles.ReadFile("networks/" + name + ".toml"); err != nil {
		return nil, names.Unknown("network", name, Names())
	}
	return parseNetwork(networkFiles, name)
}

// Names returns the networks that come with the program, in alphabetical order.
func Names() []string {
	entries, err := networkFiles.ReadDir("networks")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return list
}

// Graph returns what one call launches. It refuses calls that the network cannot take,
// saying what it could.
func (n *Network) Graph(c Call) (*Graph, error) {
	c = c.or(n.Default)
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	g, err := n.build(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	g.Name = n.Name
	return g, nil
}

// or returns c with zero fields filled from d.
func (c Call) or(d Call) Call {
	for _, f := range [...]struct{ to, from *int }{
		{&c.Batch, &d.Batch}, {&c.Frames, &d.Frames}, {&c.Passes, &d.Passes},
		{&c.Height, &d.Height}, {&c.Width, &d.Width}, {&c.Text, &d.Text},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	if c.DType == "" {
		c.DType = d.DType
	}
	return c
}

func (c Call) check() error {
	for _, f := range [...]struct {
		name string
		n    int
	}{
		{"batch", c.Batch}, {"frames", c.Frames}, {"passes", c.Passes},
	} {
		if f.n < 1 {
			return fmt.Errorf("%s is %d: want at least 1", f.name, f.n)
		}
	}
	if c.Batch > maxImages || c.Frames > maxImages || c.Passes > maxImages || c.Batch*c.Frames*c.Passes > maxImages {
		return fmt.Errorf("batch %d, %d frames, %d passes: want at most %d images in all", c.Batch, c.Frames, c.Passes, maxImages)
	}
	if c.Height > maxSide || c.Width > maxSide {
		return fmt.Errorf("%dx%d: want sides of at most %d", c.Width, c.Height, maxSide)
	}
	if c.Height < 0 || c.Width < 0 || c.Text < 0 {
		return fmt.Errorf("%dx%d pixels, %d tokens: want none negative", c.Width, c.Height, c.Text)
	}
	_, err := elementWidth(c.DType)
	return err
}

// image refuses calls for clips, and for images whose sides are not multiples of the given
// one.
func (c Call) image(multiple int) error {
	if c.Frames != 1 {
		return fmt.Errorf("%d frames: want 1, for it makes images", c.Frames)
	}
	return c.sides(multiple)
}

// sides refuses images whose sides are not multiples of the given one.
func (c Call) sides(multiple int) error {
	if c.Height < multiple || c.Width < multiple || c.Height%multiple != 0 || c.Width%multiple != 0 {
		return fmt.Errorf("%dx%d: want sides that are multiples of %d", c.Width, c.Height, multiple)
	}
	return nil
}

// builder starts the graph of a call.
func (c Call) builder() (*Builder, error) {
	width, err := elementWidth(c.DType)
	if err != nil {
		return nil, err
	}
	return NewBuilder("", width), nil
}

// elementWidth returns the bytes of an element.
func elementWidth(dtype string) (int, error) {
	switch dtype {
	case "fp16", "bf16":
		return 2, nil
	case "fp32":
		return 4, nil
	}
	return 0, fmt.Errorf("dtype %q: want fp16, bf16 or fp32", dtype)
}

// header is what every descriptor has, whatever its kind.
type header struct {
	Kind     string `toml:"kind"`   // of shape, a key of kinds
	Base     string `toml:"base"`   // descriptor that stands for all keys that are left out
	Source   string `toml:"source"` // where the shape is from, for who reads the file
	Scale    int    `toml:"latent_scale"`
	Channels int    `toml:"latent_channels"`
	Default  struct {
		Frames int    `toml:"frames"`
		Passes int    `toml:"passes"`
		Height int    `toml:"height"`
		Width  int    `toml:"width"`
		DType  string `toml:"dtype"`
		Text   int    `toml:"text"`
	} `toml:"default"`
}

// shape is the part of a descriptor that is particular to its kind.
type shape interface {
	check() error                 // refuses shapes that cannot be built
	graph(c Call) (*Graph, error) // writes the graph of a call whose fields are all set
}

// kind makes a shape to be filled from a descriptor, and says what role it has.
type kind struct {
	role string
	new  func() shape
}

// parseNetwork reads the descriptor of a network, over those that it rests on.
func parseNetwork(files fs.FS, name string) (*Network, error) {
	chain, err := descriptors(files, name)
	if err != nil {
		return nil, err
	}
	h := header{}
	for _, d := range chain {
		if _, err := toml.Decode(d.text, &h); err != nil {
			return nil, d.fault(err)
		}
	}
	own := chain[len(chain)-1]
	k, ok := kinds[h.Kind]
	if !ok {
		return nil, own.fault(names.Unknown("kind", h.Kind, slices.Sorted(maps.Keys(kinds))))
	}
	s := k.new()
	for _, d := range chain {
		if err := d.into(s); err != nil {
			return nil, d.fault(err)
		}
	}
	if err := s.check(); err != nil {
		return nil, own.fault(err)
	}
	d := h.Default
	return &Network{
		Name: name, Kind: k.role, Scale: h.Scale, Channels: h.Channels, build: s.graph,
		Default: Call{Frames: d.Frames, Passes: d.Passes, Height: d.Height, Width: d.Width, DType: d.DType, Text: d.Text}.
			or(Call{Batch: 1, Frames: 1, Passes: 1, DType: "fp16"}),
	}, nil
}

// descriptor is the text of a file.
type descriptor struct{ file, text string }

// descriptors returns the descriptor of name after those that it rests on.
func descriptors(files fs.FS, name string) ([]descriptor, error) {
	var chain []descriptor
	for name != "" {
		d := descriptor{file: path.Join("networks", name+".toml")}
		if len(chain) > 4 {
			return nil, d.fault(errors.New("base leads in a circle: want one that rests on no other"))
		}
		data, err := fs.ReadFile(files, d.file)
		if err != nil {
			return nil, d.fault(errors.New("there is no such file: want a base among the descriptors"))
		}
		d.text = string(data)
		var h header
		if _, err := toml.Decode(d.text, &h); err != nil {
			return nil, d.fault(err)
		}
		chain = append(chain, d)
		name = h.Base
	}
	slices.Reverse(chain)
	return chain, nil
}

// into decodes a descriptor into s, and refuses keys that neither s nor a header has.
func (d descriptor) into(s shape) error {
	common, err := toml.Decode(d.text, new(header))
	if err != nil {
		return err
	}
	special, err := toml.Decode(d.text, s)
	if err != nil {
		return err
	}
	strange := map[string]bool{}
	for _, key := range common.Undecoded() {
		strange[key.String()] = true
	}
	for _, key := range special.Undecoded() {
		if strange[key.String()] {
			return fmt.Errorf("unknown key %q", key.String())
		}
	}
	return nil
}

// fault says in which file, and where it is known in which line, err lies.
func (d descriptor) fault(err error) error {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s:%d: %s", d.file, syntax.Position.Line, syntax.Message)
	}
	return fmt.Errorf("%s: %s", d.file, strings.TrimPrefix(err.Error(), "toml: "))
}

// nth names the i-th of several parts, as in down0.
func nth(part string, i int) string { return part + strconv.Itoa(i) }
