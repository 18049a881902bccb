package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
)

// BenchmarkStep: a provider has all the nodes that it may, and requests wait; something happens that concerns none of
// them.
func BenchmarkStep(b *testing.B) {
	for _, waiting := range []int{100, 2000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			const nodes = 100
			f := NewFleet(Limits{})
			f.Providers["p"] = &Supply{Name: "p", Labels: []Label{{Name: "small"}, {Name: "large"}}, Max: nodes, Pauses: map[string]Pause{}}
			now := time.Unix(1_800_000_000, 0)
			for i := range nodes {
				id := fmt.Sprint("n", i)
				f.Nodes[id] = &Node{ID: id, Label: "small", Provider: "p", State: InUse, Request: fmt.Sprint("old", i), Build: "b", Made: now, Since: now}
			}
			for i := range waiting {
				id := fmt.Sprint("r", i)
				f.Requests[id] = &Request{ID: id, Tenant: "t", Nodeset: job.Nodeset{Nodes: []job.Node{{Label: "small"}, {Label: "large"}}}, Priority: i % 3, Made: now}
			}
			for b.Loop() {
				before := f.Clone() // as a launcher does, in case the step must be taken back
				Step(f, Meta{Now: now, Seed: "s"}, &Tick{})
				_ = before
			}
		})
	}
}
