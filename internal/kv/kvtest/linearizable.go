package kvtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gozer-ci/gozer/internal/kv"
)

// registers is how many keys the clients of testLinearizable fight for.
const registers = 3

// registerState is the sequential store that every concurrent history must be explained by.
type registerState struct {
	rev  int64
	regs [registers]register
}

type register struct {
	mod   int64
	value int
}

// registerOp is what a client asked for: a read of all registers, or a write of value to some of
// them if the register compared still has the mod revision that the client saw last.
type registerOp struct {
	read   bool
	cmp    int
	mod    int64
	writes [registers]bool
	value  int
}

// registerOutcome is what it was told.
type registerOutcome struct {
	ok   bool
	rev  int64
	regs [registers]register
}

// step explains one outcome from the state before it, or refuses.
func (s registerState) step(op registerOp, out registerOutcome) (bool, registerState) {
	if op.read {
		return out.regs == s.regs && out.rev >= s.rev, registerState{max(s.rev, out.rev), s.regs}
	}
	if holds := s.regs[op.cmp].mod == op.mod; holds != out.ok {
		return false, s
	}
	if !out.ok {
		return out.rev >= s.rev, registerState{max(s.rev, out.rev), s.regs}
	}
	if out.rev < s.rev {
		return false, s
	}
	// Some share a revision that write different keys, and none of which reads what another one writes.
	if s.regs[op.cmp].mod == out.rev {
		return false, s
	}
	s.rev = out.rev
	for i, w := range op.writes {
		if w {
			if s.regs[i].mod == out.rev {
				return false, s
			}
			s.regs[i] = register{out.rev, op.value}
		}
	}
	return true, s
}

// testLinearizable records what concurrent clients asked and were told, and looks for an order
// that explains it.
func testLinearizable(s *suite) {
	const clients, rounds = 5, 40
	began := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			// A seed for each client: what they ask is the same each time, how it meets is not.
			rnd := rand.New(rand.NewPCG(1, uint64(c)))
			var seen registerOutcome
			for i := range rounds {
				op := nextOp(rnd, seen, c*rounds+i+1)
				call := time.Since(began)
				out, err := s.do(op)
				if err != nil {
					s.Errorf("client %d, operation %+v: %v", c, op, err)
					return
				}
				if op.read {
					seen = out
				}
				histories[c] = append(histories[c], porcupine.Operation{
					ClientId: c, Input: op, Output: out, Call: int64(call), Return: int64(time.Since(began)),
				})
			}
		})
	}
	wg.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	model := porcupine.Model{
		Init: func() any { return registerState{} },
		Step: func(state, in, out any) (bool, any) {
			return state.(registerState).step(in.(registerOp), out.(registerOutcome))
		},
	}
	if got := porcupine.CheckOperationsTimeout(model, history, patience); got != porcupine.Ok {
		s.Errorf("history of %d operations: linearizable is %v", len(history), got)
	}
}

// nextOp reads every other time, and otherwise tries a write based on the last read.
func nextOp(rnd *rand.Rand, seen registerOutcome, value int) registerOp {
	if rnd.IntN(2) == 0 {
		return registerOp{read: true}
	}
	op := registerOp{cmp: rnd.IntN(registers), value: value}
	op.mod = seen.regs[op.cmp].mod
	op.writes[rnd.IntN(registers)] = true
	op.writes[rnd.IntN(registers)] = true
	return op
}

// do asks the store.
func (s *suite) do(op registerOp) (registerOutcome, error) {
	var out registerOutcome
	if !op.read {
		t := kv.Txn{If: []kv.Cmp{kv.Unchanged(fmt.Sprint(op.cmp), op.mod)}}
		for i, w := range op.writes {
			if w {
				t.Then = append(t.Then, kv.Put(fmt.Sprint(i), fmt.Append(nil, op.value)))
			}
		}
		var err error
		out.ok, out.rev, err = s.Commit(s.ctx, t)
		return out, err
	}
	r, err := s.Range(s.ctx, kv.Query{})
	if err != nil {
		return out, err
	}
	out.rev = r.Rev
	for _, p := range r.KVs {
		i, err := strconv.Atoi(p.Key)
		if err != nil {
			return out, err
		}
		value, err := strconv.Atoi(string(p.Value))
		if err != nil {
			return out, err
		}
		out.regs[i] = register{p.Mod, value}
	}
	return out, nil
}
