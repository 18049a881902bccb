package local

import (
	"crypto/sha1"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge/forgetest"
	"github.com/gozer-ci/gozer/internal/git"
)

func TestConformance(t *testing.T) {
	forgetest.Run(t, func(t *testing.T) *forgetest.World {
		x := newFixture(t)
		ids := map[string]string{} // Change-Ids by number
		texts := map[string]string{}
		count := 0
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
		push := func(message, id string) string {
			t.Helper()
			count++
			x.run("reset", "-q", "--hard", "init")
			made, err := x.push(message+"\n\nChange-Id: "+id+"\n", "file-"+id[:9], fmt.Sprint(count, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(made[0].rec.Number)
		}
		x.run("tag", "init")
		return &forgetest.World{Forge: x.Forge, Project: x.project(), Branch: "main",
			Propose: func(message string) string {
				id := fmt.Sprintf("I%x", sha1.Sum([]byte(fmt.Sprint(message, count))))
				n := push(message, id)
				ids[n], texts[n] = id, message
				return n
			},
			Amend: func(n string) { push(texts[n], ids[n]) },
			Abandon: func(n string) {
				do(n, func(n int) error { _, err := x.Forge.Abandon(t.Context(), n, "ada", ""); return err })
			},
			Approve: func(n string) {
				do(n, func(n int) error {
					_, err := x.Review(t.Context(), n, "bob", Review{Votes: map[string]int{"Approved": 1}})
					return err
				})
			},
			Tested: func(c *change.Change) (base, result string) {
				repo, err := x.repo("org/project")
				if err != nil {
					t.Fatal(err)
				}
				if base, err = repo.ResolveRef(t.Context(), "refs/heads/main"); err != nil {
					t.Fatal(err)
				}
				m, err := repo.Merge(t.Context(), git.MergeRequest{Base: base, Change: c.Commit, Message: "merge\n",
					By: git.Signature{Name: "g", Email: "g@example.com", When: time.Unix(1, 0)}})
				if err != nil {
					t.Fatal(err)
				}
				return base, m.Commit
			},
			Comments: func(n string) (out []string) {
				do(n, func(n int) error {
					list, err := x.Forge.Comments(t.Context(), n)
					for _, c := range list {
						out = append(out, c.Text)
					}
					return err
				})
				return out
			},
			SetTopic: func(n, topic string) {
				do(n, func(n int) error { _, err := x.Forge.SetTopic(t.Context(), n, "ada", topic); return err })
			},
		}
	})
}
