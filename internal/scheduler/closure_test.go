package scheduler

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
)

// remote is a forge that only knows changes, and who names them.
type remote struct {
	name    string
	changes map[string]*change.Change // by URL
}

func (r *remote) Name() string   { return r.name }
func (r *remote) Driver() string { return "gerrit" }
func (r *remote) Host() string   { return r.name + ".example.com" }

func (r *remote) Change(_ context.Context, _ change.Project, number, _ string) (*change.Change, error) {
	for _, c := range r.changes {
		if c.Number == number {
			return c, nil
		}
	}
	return nil, forge.ErrNotFound
}

func (r *remote) Resolve(_ context.Context, url string) (*change.Change, bool, error) {
	c, ours := r.changes[url], strings.HasPrefix(url, "https://"+r.Host())
	return c, ours, nil
}

func (r *remote) Dependents(_ context.Context, of *change.Change) (out []change.Key, err error) {
	for _, c := range r.changes {
		if strings.Contains(c.Message, of.URL) {
			out = append(out, c.Key())
		}
	}
	return out, nil
}

func (r *remote) Branches(context.Context, change.Project) ([]forge.Branch, error) { return nil, nil }
func (r *remote) Remote(change.Project) forge.Remote                               { return forge.Remote{} }
func (r *remote) Report(context.Context, forge.Report) (forge.Outcome, error) {
	return forge.Outcome{}, nil
}

func (r *remote) propose(number, message string) *change.Change {
	c := &change.Change{Kind: change.KindChange, Project: change.Project{Connection: r.name, Host: r.Host(), Name: "org/" + r.name}, Branch: "master",
		Number: number, Patchset: "1", URL: "https://" + r.Host() + "/" + number, Message: message, Open: true, Current: true}
	if r.changes == nil {
		r.changes = map[string]*change.Change{}
	}
	r.changes[c.URL] = c
	return c
}

// A change at one forge needs one at another, which needs the first: both are read, once, with their needs.
func TestCycleAcrossForges(t *testing.T) {
	one, two := &remote{name: "one"}, &remote{name: "two"}
	a := one.propose("1", "a\n\nDepends-On: https://two.example.com/7\nDepends-On: https://nowhere.example.com/1\nDepends-On: https://one.example.com/1\nDepends-On: https://two.example.com/8")
	b := two.propose("7", "b\n\ndepends-on:https://one.example.com/1 \nDepends-On: \nDepends-On: https://two.example.com/7")
	set, err := forge.NewSet(one, two)
	if err != nil {
		t.Fatal(err)
	}
	cl := newClosure(set, nil)
	if err := cl.add(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	all, err := cl.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d changes were read, want 2", len(all))
	}
	for i, want := range []*change.Change{b, a} {
		if got := all[i].FooterNeeds; !slices.Equal(got, []change.Key{want.Key()}) {
			t.Errorf("%s needs %v, want %s", all[i].URL, got, want.Key())
		}
	}
}
