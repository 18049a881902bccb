package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// late is a store that answers, and tells of changes, later than it could.
type late struct {
	kv.Store
	by time.Duration
}

func (l late) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	time.Sleep(l.by)
	return l.Store.Commit(ctx, t)
}

func (l late) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	r, err := l.Store.Range(ctx, q)
	time.Sleep(l.by)
	return r, err
}

func (l late) Watch(ctx context.Context, prefix string, rev int64, fn func(kv.Batch) error) error {
	return l.Store.Watch(ctx, prefix, rev, func(b kv.Batch) error {
		time.Sleep(3 * l.by)
		return fn(b)
	})
}

// Two schedulers share a tenant, and one of them learns of everything late; whichever it is, and whatever it owns, a
// change that comes right after the configuration was pushed is tested with the new one, never with an older. The
// forge itself tells of a push before its branches do.
func TestNoLayoutIsOlderThanItsEvent(t *testing.T) {
	for slow := range 2 {
		t.Run(fmt.Sprintf("s%d is slow", slow), func(t *testing.T) {
			s := startWith(t, 2, func(scheduler int, m kv.Store) kv.Store {
				if scheduler == slow {
					return late{m, 15 * time.Millisecond}
				}
				return m
			})
			p := s.project("org/project")
			before := s.git(s.path(p.Name), "rev-parse", "master")
			for n := 1; n <= 8; n++ {
				name := fmt.Sprint("v", n)
				config := fmt.Sprintf("- job: {name: %s, run: playbooks/unit.yaml}\n- project: {check: {jobs: [%s]}}\n", name, name)
				s.lag(p.Name, n%3)
				after := s.commit(p.Name, "refs/heads/master", before, map[string]string{"zuul.yaml": config})
				s.sink(event.Event{ID: "push", Type: "ref-updated", Project: p, Ref: "refs/heads/master", OldRev: before, NewRev: after})
				before = after
				c := s.propose(p.Name, fmt.Sprint(n), map[string]string{name: "a\n"})
				if n%2 == 0 { // a layout of its own, on top of the new one
					c = s.propose(p.Name, fmt.Sprint(n), map[string]string{"zuul.yaml": config + "# touched\n"})
				}
				s.sink(event.Event{ID: name, Type: "patchset-created", Project: p, Number: c.Number, Patchset: "1", Branch: "master"})
				task, build := s.build(t)
				if build.Job.Name != name {
					t.Errorf("change %d is tested by job %s, the configuration has %s", n, build.Job.Name, name)
				}
				end(t, task, build, pipeline.Success)
			}
			s.eventually(t, "all are reported", func() bool { return len(s.messages()) == 8 })
			select {
			case task := <-s.starts:
				t.Errorf("one build too many: %s", task.Request.ID)
			default:
			}
		})
	}
}
