package replay

import (
	"math"
	"math/rand/v2"
	"strings"

	"orrery/sim"
	"orrery/workloads"
)

// words are short and common, so that most vocabularies have one token for each with
// its space.
var words = strings.Fields(`the of and to in is you that it he was for on are as with his they at be this have from or one had
by word but not what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people my than first water
been call who oil its now find long down day did get come made may part over new sound take only little work know place year live
me back give most very after thing our just name good man think say great where help through much before line right too mean old
any same tell boy follow came want show also around form three small set put end does another well large must big even such
because turn here why ask went men read need land home us move try kind hand picture again change off play air away house point
page letter mother answer found study still learn should world`)

// prompter makes prompts of a wanted number of tokens. Texts are drawn from the seed
// and the request's number, so that no two requests share a beginning by chance, which
// a prefix cache would answer for free. Blocks that a request names as shared have
// texts drawn from their names, so that they are shared.
type prompter struct {
	seed uint64
	ids  bool // prompts are lists of token ids rather than text
	// perWord is tokens per word, and overhead the tokens that the server adds to a
	// prompt, such as those of a chat template.
	perWord  float64
	overhead float64
}

// Token ids that prompts are drawn from. The first ones of a vocabulary are often
// special or single bytes, and the smallest vocabularies in use have 32,000.
const firstID, lastID = 1000, 30000

// pieces calls draw for stretches of n units that all come from one stream, together
// units in all. A unit is a word or a token.
func (p *prompter) pieces(r *workloads.Request, units int, perToken float64, draw func(rng *rand.Rand, n int)) {
	done := 0
	for i, name := range r.Prefix {
		upTo := int(math.Round(float64(i+1) * float64(r.PrefixBlock) * perToken))
		n := min(upTo, units) - done
		if n <= 0 {
			break
		}
		draw(rand.New(rand.NewPCG(p.seed, name)), n)
		done += n
	}
	if done < units {
		// Numbers of requests and names of blocks must not draw alike.
		draw(rand.New(sim.NewPCG(p.seed^uint64(r.ID)<<1, "prompt")), units-done)
	}
}

// text returns a prompt of about r.Prompt tokens.
func (p *prompter) text(r *workloads.Request) string {
	n := max(1, int(math.Round((float64(r.Prompt)-p.overhead)/p.perWord)))
	var b strings.Builder
	b.Grow(6 * n)
	p.pieces(r, n, 1/p.perWord, func(rng *rand.Rand, n int) {
		for range n {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(words[rng.IntN(len(words))])
		}
	})
	return b.String()
}

// tokens returns a prompt of r.Prompt tokens.
func (p *prompter) tokens(r *workloads.Request) []int64 {
	n := max(1, int(r.Prompt)-int(math.Round(p.overhead)))
	ids := make([]int64, 0, n)
	p.pieces(r, n, 1, func(rng *rand.Rand, n int) {
		for range n {
			ids = append(ids, firstID+rng.Int64N(lastID-firstID))
		}
	})
	return ids
}
