package diffusion

import (
	"fmt"

	"orrery/hwmodel"
)

// call is one run of a graph. Tensors of one storage, such as a view and what it views,
// share a store.
type call struct {
	*follower
	g      *Graph
	at     []int32 // the store of a tensor; 0: none
	stores []store
	most   hwmodel.Usage // during the current operator
}

type store struct {
	block hwmodel.BlockID
	users int
}

// forward runs the graph's operators on tensors that the caller hands in.
func (c *call) forward() error {
	for _, t := range c.g.Inputs {
		if err := c.write(t); err != nil {
			return fmt.Errorf("%s: %w", c.g.Tensors[t].Name, err)
		}
	}
	for i := range c.g.Ops {
		if err := c.op(&c.g.Ops[i]); err != nil {
			return fmt.Errorf("%s: %w", c.g.Ops[i].Name, err)
		}
	}
	for _, t := range c.g.Inputs {
		c.release(t)
	}
	return nil
}

// results returns what holds the graph's outputs.
func (c *call) results() []piece {
	pieces := make([]piece, len(c.g.Outputs))
	for i, t := range c.g.Outputs {
		pieces[i] = piece{c.stores[c.at[t]].block, c.g.Tensors[t].Bytes()}
	}
	return pieces
}

// drop lets go of the outputs.
func (c *call) drop() {
	for _, t := range c.g.Outputs {
		c.release(t)
	}
}

// op runs one operator: results come to life, then the workspace, which dies with the
// operator, as do the tensors that nothing names any more.
func (c *call) op(op *Op) error {
	c.most = c.alloc.Usage()
	if c.view(op) {
		c.share(op.Reads[0], op.Writes[0])
	} else {
		for _, t := range op.Writes {
			if err := c.write(t); err != nil {
				return err
			}
		}
	}
	if n := c.workspace(op); n > 0 {
		if id, err := c.alloc.Alloc(n); err != nil {
			c.run.Smaller++
		} else {
			c.see()
			c.alloc.Free(id)
		}
	}
	c.record(c.most, op.Name)
	for _, t := range op.Free {
		c.release(t)
	}
	return nil
}

// view says whether an operator only gives its operand another shape.
func (c *call) view(op *Op) bool { return op.What == "view" && len(op.Reads) == 1 }

// workspaceShare is what a convolution needs beside its operands, as a share of them. A
// tensor-core kernel works on copies of input and output in another layout, which would
// make it 1, but not every convolution gets such a kernel. It is an effective figure,
// chosen on reserved memory at the allocator: 2/3 to 0.7 put Stable Diffusion 1.4 within 5 %
// at batch 1 to 16 on four cards (LambdaLabsML/lambda-diffusers, fp16 with xformers). It is
// too much in fp32. See docs/memory.md.
const workspaceShare = 0.7

// workspace returns the bytes that an operator needs beside its operands: cuDNN's
// convolutions alone need any. When they cannot be had, cuDNN takes an algorithm that
// needs none.
func (c *call) workspace(op *Op) int64 {
	if op.Kind != Conv && op.Kind != ConvTemporal {
		return 0
	}
	var sum int64
	for _, t := range op.Reads {
		sum += c.g.Tensors[t].Bytes()
	}
	for _, t := range op.Writes {
		sum += c.g.Tensors[t].Bytes()
	}
	return int64(workspaceShare * float64(sum))
}

// write brings a tensor to life.
func (c *call) write(t TensorID) error {
	id, err := c.alloc.Alloc(c.g.Tensors[t].Bytes())
	if err != nil {
		return err
	}
	c.stores = append(c.stores, store{id, 1})
	c.at[t] = int32(len(c.stores) - 1)
	c.see()
	return nil
}

// share makes one tensor a view of another.
func (c *call) share(of, view TensorID) {
	c.at[view] = c.at[of]
	c.stores[c.at[of]].users++
}

// release drops a tensor, and its memory with the last tensor that is stored there.
func (c *call) release(t TensorID) {
	s := &c.stores[c.at[t]]
	s.users--
	switch {
	case s.users == 0:
		c.alloc.Free(s.block)
	case s.users < 0:
		panic(fmt.Sprintf("diffusion: tensor %s of %s is freed twice", c.g.Tensors[t].Name, c.g.Name))
	}
}

// see takes note of a moment within an operator.
func (c *call) see() {
	u := c.alloc.Usage()
	c.most.Live = max(c.most.Live, u.Live)
	c.most.Allocated = max(c.most.Allocated, u.Allocated)
	c.most.Reserved = max(c.most.Reserved, u.Reserved)
}
