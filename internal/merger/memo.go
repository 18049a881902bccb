package merger

import (
	"context"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// A gate of a hundred changes asks for a hundred speculative states, and the last has the merges of all before
// it. As equal merges have equal results, each is made once and remembered for as long as queues live; git
// keeps what nothing refers to far longer.
const (
	remembered = 20_000
	memory     = 6 * time.Hour
)

// merging is one merge in one repository: equal ones give equal commits.
type merging struct {
	project                  change.Project
	mode, base, tip, message string
	when                     time.Time
}

type result struct {
	done chan struct{}
	at   time.Time
	git.MergeResult
	err error
}

// memo remembers merges. The zero value is ready.
type memo struct {
	mu   sync.Mutex
	made map[merging]*result
}

// merge makes a merge, or gives what an equal one came to, waiting for it where it is under way. A failure of
// git is not remembered.
func (m *memo) merge(ctx context.Context, g *git.Repo, op *pipeline.MergeOp, base, tip string, when time.Time) (git.MergeResult, error) {
	k := merging{op.Project, op.Mode, base, tip, message(op), when.UTC()}
	m.mu.Lock()
	r := m.made[k]
	if r != nil && time.Since(r.at) < memory {
		m.mu.Unlock()
		select {
		case <-r.done:
		case <-ctx.Done():
			return git.MergeResult{}, ctx.Err()
		}
		if r.err == nil {
			return r.MergeResult, nil
		}
		return mergeOp(ctx, g, op, base, tip, when) // whoever made it may have been canceled
	}
	if m.made == nil || len(m.made) >= remembered {
		m.made = map[merging]*result{}
	}
	r = &result{done: make(chan struct{}), at: time.Now()}
	m.made[k] = r
	m.mu.Unlock()
	r.MergeResult, r.err = mergeOp(ctx, g, op, base, tip, when)
	close(r.done)
	if r.err != nil {
		m.mu.Lock()
		if m.made[k] == r {
			delete(m.made, k)
		}
		m.mu.Unlock()
	}
	return r.MergeResult, r.err
}
