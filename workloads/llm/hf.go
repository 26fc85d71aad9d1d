package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// hfConfig is what we read of a Hugging Face config.json. Pointers tell a missing
// field from a zero.
type hfConfig struct {
	Name          string   `json:"_name_or_path"`
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	DType         string   `json:"torch_dtype"`
	NewDType      string   `json:"dtype"` // its name since transformers 4.56

	Layers        *int  `json:"num_hidden_layers"`
	Hidden        *int  `json:"hidden_size"`
	Heads         *int  `json:"num_attention_heads"`
	KVHeads       *int  `json:"num_key_value_heads"`
	HeadDim       *int  `json:"head_dim"`
	Intermediate  *int  `json:"intermediate_size"`
	Vocab         *int  `json:"vocab_size"`
	MaxLen        *int  `json:"max_position_embeddings"`
	Tied          *bool `json:"tie_word_embeddings"`
	AttentionBias bool  `json:"attention_bias"`
	MLPBias       bool  `json:"mlp_bias"`

	SlidingWindow    *int  `json:"sliding_window"`
	UseSlidingWindow *bool `json:"use_sliding_window"`
	MaxWindowLayers  int   `json:"max_window_layers"`

	RopeScaling *struct {
		Type     string  `json:"type"`
		RopeType string  `json:"rope_type"`
		Factor   float64 `json:"factor"`
		Original *int    `json:"original_max_position_embeddings"`
	} `json:"rope_scaling"`
	Quantization *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`

	// Experts: Mixtral, then Qwen2-MoE.
	LocalExperts  *int  `json:"num_local_experts"`
	Experts       *int  `json:"num_experts"`
	PerToken      *int  `json:"num_experts_per_tok"`
	ExpertSize    *int  `json:"moe_intermediate_size"`
	SharedSize    *int  `json:"shared_expert_intermediate_size"`
	SparseStep    *int  `json:"decoder_sparse_step"`
	MLPOnlyLayers []int `json:"mlp_only_layers"`

	// Falcon, and the names of its first releases.
	OldLayers    *int  `json:"n_layer"`
	OldHeads     *int  `json:"n_head"`
	OldKVHeads   *int  `json:"n_head_kv"`
	FalconKV     *int  `json:"num_kv_heads"`
	FFNHidden    *int  `json:"ffn_hidden_size"`
	NewDecoder   bool  `json:"new_decoder_architecture"`
	ParallelAttn *bool `json:"parallel_attn"`
	ParallelLN   *int  `json:"num_ln_in_parallel_attn"`
	MultiQuery   *bool `json:"multi_query"`
	Bias         bool  `json:"bias"`
}

// hfReaders has what is particular to each architecture.
var hfReaders = map[string]func(*hfConfig, *Model) error{
	"LlamaForCausalLM":    readLlama,
	"LLaMAForCausalLM":    readLlama,
	"YiForCausalLM":       readLlama, // Yi's releases before it went by Llama's name
	"MistralForCausalLM":  readMistral,
	"MixtralForCausalLM":  readMixtral,
	"Qwen2ForCausalLM":    readQwen2,
	"Qwen2MoeForCausalLM": readQwen2MoE,
	"Qwen3ForCausalLM":    readQwen3,
	"FalconForCausalLM":   readFalcon,
	"RWForCausalLM":       readFalcon, // Falcon's first releases
}

// Architectures returns the architectures that [FromHF] knows, in alphabetical
// order.
func Architectures() []string {
	list := make([]string, 0, len(hfReaders))
	for a := range hfReaders {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

// FromHF reads a model from a Hugging Face config.json. Fields that the file
// leaves out get the default of their architecture in the transformers library
// where every release relies on it, and are an error otherwise. Weights count 2
// bytes, in single precision too, since engines serve that in half precision;
// quantised weights are refused.
func FromHF(data []byte) (*Model, error) {
	var c hfConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, jsonError(data, err)
	}
	if len(c.Architectures) == 0 {
		return nil, fmt.Errorf("architectures is missing; want one of %s", strings.Join(Architectures(), ", "))
	}
	arch := c.Architectures[0]
	read, ok := hfReaders[arch]
	if !ok {
		return nil, fmt.Errorf("architecture %q is not known; want one of %s", arch, strings.Join(Architectures(), ", "))
	}
	if q := c.Quantization; q != nil {
		return nil, fmt.Errorf("weights quantised by %q are not modelled; want the config.json of the model before quantisation", q.Method)
	}
	switch t := c.DType + c.NewDType; t {
	case "", "auto", "float16", "bfloat16", "float32":
	default:
		return nil, fmt.Errorf("torch_dtype is %q; want float16, bfloat16 or float32", t)
	}

	m := &Model{Source: "config.json (" + arch + ")", NormsPerLayer: 2, WeightBytes: 2, KVBytes: 2}
	if base := path.Base(c.Name); c.Name != "" && base != "." && base != "/" {
		m.Name = strings.ToLower(base)
	}
	if err := read(&c, m); err != nil {
		return nil, err
	}
	if err := c.lengths(m); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", arch, err)
	}
	return m, nil
}

// jsonError puts what the json package says into one line with a line number.
func jsonError(data []byte, err error) error {
	line := func(offset int64) int { return 1 + strings.Count(string(data[:min(offset, int64(len(data)))]), "\n") }
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("line %d: this is a JSON %s; want an object", line(wrong.Offset), wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf("line %d: %s is a %s; want %s", line(wrong.Offset), wrong.Field, wrong.Value, kindName(wrong.Type.String()))
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: this is no JSON: %s", line(syntax.Offset), syntax.Error())
	}
	return err
}

func kindName(goType string) string {
	switch strings.TrimLeft(goType, "*[]") {
	case "int":
		return "an integer"
	case "bool":
		return "true or false"
	case "float64":
		return "a number"
	case "string":
		return "a string"
	}
	return "an object"
}

// need copies the fields that must be there, given as name, value, destination.
func need(fields ...field) error {
	for _, f := range fields {
		if f.from == nil {
			return fmt.Errorf("%s is missing", f.name)
		}
		*f.to = *f.from
	}
	return nil
}

type field struct {
	name string
	from *int
	to   *int
}

// or returns what p points to, or the default if it is missing.
func or[T any](p *T, missing T) T {
	if p == nil {
		return missing
	}
	return *p
}

// common reads what Llama and its descendants call alike.
func (c *hfConfig) common(m *Model) error {
	if err := need(
		field{"num_hidden_layers", c.Layers, &m.Layers},
		field{"hidden_size", c.Hidden, &m.Hidden},
		field{"num_attention_heads", c.Heads, &m.Heads},
		field{"vocab_size", c.Vocab, &m.Vocab},
		field{"intermediate_size", c.Intermediate, &m.Intermediate},
		field{"max_position_embeddings", c.MaxLen, &m.MaxLen},
	); err != nil {
		return err
	}
	m.Gated = true
	m.TiedEmbedding = or(c.Tied, false)
	if c.HeadDim != nil {
		m.HeadDim = *c.HeadDim
		return nil
	}
	var err error
	if m.HeadDim, err = evenHeads(m.Hidden, m.Heads); err != nil {
		return fmt.Errorf("head_dim is missing, and %w", err)
	}
	return nil
}

func readLlama(c *hfConfig, m *Model) error {
	m.QKVBias, m.OutBias, m.MLPBias = c.AttentionBias, c.AttentionBias, c.MLPBias
	m.KVHeads = or(c.KVHeads, or(c.Heads, 0)) // configurations older than grouped queries leave it out
	return c.common(m)
}

func readMistral(c *hfConfig, m *Model) error {
	m.SlidingWindow = or(c.SlidingWindow, 0)
	if err := need(field{"num_key_value_heads", c.KVHeads, &m.KVHeads}); err != nil {
		return err
	}
	return c.common(m)
}

func readMixtral(c *hfConfig, m *Model) error {
	if err := need(
		field{"num_local_experts", c.LocalExperts, &m.Experts},
		field{"num_experts_per_tok", c.PerToken, &m.ExpertsPerToken},
	); err != nil {
		return err
	}
	return readMistral(c, m)
}

func readQwen2(c *hfConfig, m *Model) error {
	m.QKVBias = true
	if or(c.UseSlidingWindow, false) && c.SlidingWindow != nil {
		// Layers before max_window_layers look at everything.
		if c.MaxWindowLayers > 0 && c.MaxWindowLayers < or(c.Layers, 0) {
			return fmt.Errorf("max_window_layers is %d; a model whose layers differ in attention is not modelled", c.MaxWindowLayers)
		}
		if c.MaxWindowLayers == 0 {
			m.SlidingWindow = *c.SlidingWindow
		}
	}
	if err := need(field{"num_key_value_heads", c.KVHeads, &m.KVHeads}); err != nil {
		return err
	}
	return c.common(m)
}

func readQwen2MoE(c *hfConfig, m *Model) error {
	if or(c.SparseStep, 1) != 1 || len(c.MLPOnlyLayers) > 0 {
		return errors.New("decoder_sparse_step is not 1 or mlp_only_layers is not empty; a model whose layers differ is not modelled")
	}
	if err := readQwen2(c, m); err != nil {
		return err
	}
	return need(
		field{"num_experts", c.Experts, &m.Experts},
		field{"num_experts_per_tok", c.PerToken, &m.ExpertsPerToken},
		field{"moe_intermediate_size", c.ExpertSize, &m.Intermediate},
		field{"shared_expert_intermediate_size", c.SharedSize, &m.SharedExpertSize},
	)
}

func readQwen3(c *hfConfig, m *Model) error {
	if err := need(field{"head_dim", c.HeadDim, &m.HeadDim}); err != nil {
		return err
	}
	if err := readQwen2(c, m); err != nil {
		return err
	}
	m.QKNorm = true
	m.QKVBias, m.OutBias = c.AttentionBias, c.AttentionBias
	return nil
}

// readFalcon follows FalconConfig and FalconDecoderLayer of the transformers
// library. ALiBi and rotary positions have no weights, so they are alike here.
func readFalcon(c *hfConfig, m *Model) error {
	first := func(a, b *int) *int {
		if a != nil {
			return a
		}
		return b
	}
	if err := need(
		field{"num_hidden_layers", first(c.Layers, c.OldLayers), &m.Layers},
		field{"hidden_size", c.Hidden, &m.Hidden},
		field{"num_attention_heads", first(c.Heads, c.OldHeads), &m.Heads},
		field{"vocab_size", c.Vocab, &m.Vocab},
	); err != nil {
		return err
	}
	var err error
	if m.HeadDim, err = evenHeads(m.Hidden, m.Heads); err != nil {
		return err
	}
	switch {
	case c.NewDecoder:
		m.KVHeads = or(first(c.FalconKV, c.OldKVHeads), m.Heads)
	case or(c.MultiQuery, true):
		m.KVHeads = 1
	default:
		m.KVHeads = m.Heads
	}
	m.Intermediate = or(c.FFNHidden, 4*m.Hidden)
	m.MaxLen = or(c.MaxLen, 2048)
	m.NormBias = true
	m.ParallelBlock = c.NewDecoder || or(c.ParallelAttn, true)
	if m.ParallelBlock {
		m.NormsPerLayer = 1
		if c.NewDecoder {
			m.NormsPerLayer = or(c.ParallelLN, 2)
		}
	}
	m.TiedEmbedding = or(c.Tied, true)
	m.QKVBias, m.OutBias, m.MLPBias = c.Bias, c.Bias, c.Bias
	return nil
}

// lengths stretches the longest sequence by rope_scaling, as vLLM does: Llama 3's
// and LongRoPE's max_position_embeddings are stretched already, and YaRN stretches
// the length before it.
func (c *hfConfig) lengths(m *Model) error {
	r := c.RopeScaling
	if r == nil {
		return nil
	}
	kind := r.RopeType
	if kind == "" {
		kind = r.Type
	}
	switch kind {
	case "linear", "dynamic", "yarn":
		if !(r.Factor >= 1 && r.Factor <= 1024) {
			return fmt.Errorf("rope_scaling.factor is %v; want a number from 1 to 1024", r.Factor)
		}
		if kind == "yarn" {
			m.MaxLen = or(r.Original, m.MaxLen)
		}
		if m.MaxLen > 0 && m.MaxLen < 1<<30 {
			m.MaxLen = int(float64(m.MaxLen) * r.Factor)
		}
	}
	return nil
}
