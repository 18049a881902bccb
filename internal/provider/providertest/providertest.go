// Package providertest holds providers to the promises of package provider. Every driver runs it, and so
// does the fake.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/provider"
)

// Config is what the suite needs to know of a driver.
type Config struct {
	// New gives an empty provider with a label Label of which Max (at least 2) can be made at one time.
	New   func(t *testing.T) provider.Provider
	Label string
	Max   int
	// Keys are let in by what is made.
	Keys []string
	// Reach connects to an instance as its Access says; nil where there is nothing to connect to.
	Reach func(ctx context.Context, i *provider.Instance) error
	// Gone gives an error if something of the instance, which was deleted, is still there; nil where
	// that cannot be seen.
	Gone func(i *provider.Instance) error
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"CreateIsIdempotent", createIsIdempotent},
		{"CreateAtOnceMakesOne", createAtOnce},
		{"Reachable", reachable},
		{"DeleteIsIdempotent", deleteIsIdempotent},
		{"ListNamesAll", listNamesAll},
		{"QuotaIsNotNow", quota},
		{"UnknownLabelIsNever", unknownLabel},
		{"UnknownInstance", unknownInstance},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			t.Cleanup(cancel)
			s := &suite{Config: c, ctx: ctx, p: c.New(t)}
			t.Cleanup(func() { s.deleteAll(t) })
			test.run(t, s)
		})
	}
}

type suite struct {
	Config
	ctx context.Context
	p   provider.Provider
}

func (s *suite) spec(id string) provider.Spec {
	return provider.Spec{ID: id, Label: s.Label, Keys: s.Keys}
}

func (s *suite) create(t *testing.T, id string) *provider.Instance {
	t.Helper()
	i, err := s.p.Create(s.ctx, s.spec(id))
	if err != nil {
		t.Fatalf("Create(%s): %v", id, err)
	}
	return i
}

// deleteAll leaves nothing behind, so that providers may share what they stand on.
func (s *suite) deleteAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all, err := s.p.List(ctx)
	if err != nil {
		t.Errorf("List: %v", err)
	}
	for _, i := range all {
		if err := s.p.Delete(ctx, i.ID); err != nil {
			t.Errorf("Delete(%s): %v", i.ID, err)
		}
	}
}

func (s *suite) ids(t *testing.T) []string {
	t.Helper()
	all, err := s.p.List(s.ctx)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	var out []string
	for _, i := range all {
		out = append(out, i.ID)
	}
	return out
}

func createIsIdempotent(t *testing.T, s *suite) {
	a, b := s.create(t, "one"), s.create(t, "one")
	if diff := cmp.Diff(a.Access, b.Access); a.ID != "one" || diff != "" {
		t.Errorf("the second Create of %q describes another instance:\n%s", a.ID, diff)
	}
	if diff := cmp.Diff([]string{"one"}, s.ids(t)); diff != "" {
		t.Errorf("instances:\n%s", diff)
	}
	other := s.create(t, "two")
	if other.Host == a.Host && other.Port == a.Port && other.Slot == a.Slot {
		t.Errorf("two IDs, but one place: %+v", other.Access)
	}
}

func createAtOnce(t *testing.T, s *suite) {
	var all sync.WaitGroup
	got := make([]*provider.Instance, 5)
	for n := range got {
		all.Go(func() {
			i, err := s.p.Create(s.ctx, s.spec("one"))
			if err != nil {
				t.Errorf("Create: %v", err)
			}
			got[n] = i
		})
	}
	all.Wait()
	for _, i := range got {
		if i != nil && (i.Host != got[0].Host || i.Slot != got[0].Slot) {
			t.Errorf("one ID, but %s slot %d and %s slot %d", i.Host, i.Slot, got[0].Host, got[0].Slot)
		}
	}
	if diff := cmp.Diff([]string{"one"}, s.ids(t)); diff != "" {
		t.Errorf("instances:\n%s", diff)
	}
}

func reachable(t *testing.T, s *suite) {
	i := s.create(t, "one")
	for !i.Up {
		if i.Why == "" {
			t.Fatal("the instance is not up and does not say why")
		}
		time.Sleep(50 * time.Millisecond)
		var err error
		if i, err = s.p.Describe(s.ctx, "one"); err != nil {
			t.Fatalf("Describe: %v", err)
		}
	}
	if i.Host == "" || i.Port == 0 || i.User == "" || len(i.HostKeys) == 0 {
		t.Errorf("Access is not complete: %+v", i.Access)
	}
	if s.Reach == nil {
		return
	}
	if err := s.Reach(s.ctx, i); err != nil {
		t.Errorf("the instance is up, but: %v", err)
	}
}

func deleteIsIdempotent(t *testing.T, s *suite) {
	i := s.create(t, "one")
	keep := s.create(t, "two")
	for range 2 {
		if err := s.p.Delete(s.ctx, "one"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if _, err := s.p.Describe(s.ctx, "one"); !errors.Is(err, provider.ErrNotFound) {
		t.Errorf("Describe after Delete: %v, want ErrNotFound", err)
	}
	if s.Gone != nil {
		if err := s.Gone(i); err != nil {
			t.Errorf("after Delete: %v", err)
		}
	}
	if s.Reach != nil {
		if err := s.Reach(s.ctx, keep); err != nil {
			t.Errorf("another instance suffered: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"two"}, s.ids(t)); diff != "" {
		t.Errorf("instances:\n%s", diff)
	}
}

func listNamesAll(t *testing.T, s *suite) {
	if got := s.ids(t); len(got) != 0 {
		t.Errorf("a new provider has instances: %v", got)
	}
	s.create(t, "one")
	s.create(t, "two")
	if diff := cmp.Diff([]string{"one", "two"}, s.ids(t)); diff != "" {
		t.Errorf("instances:\n%s", diff)
	}
}

func quota(t *testing.T, s *suite) {
	for n := range s.Max {
		s.create(t, fmt.Sprintf("node-%d", n))
	}
	_, err := s.p.Create(s.ctx, s.spec("more"))
	if !errors.Is(err, provider.ErrQuota) {
		t.Fatalf("Create beyond the bound: %v, want ErrQuota", err)
	}
	if err := s.p.Delete(s.ctx, "node-0"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	s.create(t, "more")
}

func unknownLabel(t *testing.T, s *suite) {
	_, err := s.p.Create(s.ctx, provider.Spec{ID: "one", Label: "no-such-label"})
	if !errors.Is(err, provider.ErrImpossible) {
		t.Errorf("Create with an unknown label: %v, want ErrImpossible", err)
	}
	if got := s.ids(t); len(got) != 0 {
		t.Errorf("instances: %v", got)
	}
}

func unknownInstance(t *testing.T, s *suite) {
	if _, err := s.p.Describe(s.ctx, "nobody"); !errors.Is(err, provider.ErrNotFound) {
		t.Errorf("Describe of an unknown instance: %v, want ErrNotFound", err)
	}
	if err := s.p.Delete(s.ctx, "nobody"); err != nil {
		t.Errorf("Delete of an unknown instance: %v", err)
	}
}
