package fake

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge/forgetest"
)

func TestConformance(t *testing.T) {
	forgetest.Run(t, func(t *testing.T) *forgetest.World {
		repos := NewRepositories(t.TempDir())
		t.Cleanup(repos.Close)
		if err := repos.Create(t.Context(), "org/project", "content", Text(map[string]string{"README": "hello\n"}), "init"); err != nil {
			t.Fatal(err)
		}
		f := New(Config{Name: "gerrit", Host: "review.example.com", Repositories: repos, User: "gozer"})
		do := func(text string, fn func(n int) error) {
			t.Helper()
			n, err := strconv.Atoi(text)
			if err == nil {
				err = fn(n)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return &forgetest.World{Forge: f, Project: change.Project{Connection: "gerrit", Host: "review.example.com", Name: "org/project"}, Branch: "master",
			Propose: func(message string) string {
				n, err := f.Propose(t.Context(), Proposal{Project: "org/project", Subject: message})
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(n)
			},
			Amend:   func(n string) { do(n, func(n int) error { return f.Patchset(t.Context(), n, nil, false) }) },
			Abandon: func(n string) { do(n, f.Abandon) },
			Approve: func(n string) {
				do(n, func(n int) error { return f.Vote(n, "Approved", 1, "bob", 0) })
				do(n, func(n int) error { return f.Vote(n, "Code-Review", 2, "bob", 0) })
			},
			Comments: func(n string) (out []string) {
				do(n, func(n int) error {
					c, err := f.Look(n)
					out = c.Messages
					return err
				})
				return out
			},
			SetTopic: func(n, topic string) {
				do(n, func(n int) error { return f.Edit(n, func(c *Change) { c.Topic = topic }) })
			},
		}
	})
}

// A change stands on a ref, on a branch or tag by its name alone, or on a commit.
func TestBaseOfAChange(t *testing.T) {
	repos := NewRepositories(t.TempDir())
	t.Cleanup(repos.Close)
	if err := repos.Create(t.Context(), "p", "content", Text(map[string]string{"README": "hello\n"}), "init"); err != nil {
		t.Fatal(err)
	}
	if err := repos.Branch(t.Context(), "p", "stable"); err != nil {
		t.Fatal(err)
	}
	head, first := repos.Commit("p", "refs/heads/stable"), repos.Commit("p", "refs/tags/init")
	f := New(Config{Name: "gerrit", Host: "review.example.com", Repositories: repos, User: "gozer"})
	for base, want := range map[string]string{"": first, "init": first, "stable": head, "refs/heads/stable": head, head: head} {
		n, err := f.Propose(t.Context(), Proposal{Project: "p", Subject: "A", Base: base})
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Look(n)
		if err != nil {
			t.Fatal(err)
		}
		var parent string
		if err := repos.use("p", func(x *repository) error { parent = x.parents[c.Patchsets[0].Commit]; return nil }); err != nil {
			t.Fatal(err)
		}
		if parent != want {
			t.Errorf("on %q: the parent is %s, want %s", base, parent, want)
		}
	}
	if _, err := f.Propose(t.Context(), Proposal{Project: "p", Subject: "A", Base: "nowhere"}); err == nil {
		t.Error("a change stands on nothing")
	}
}
