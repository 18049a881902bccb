package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Failover kills the scheduler that owns a pipeline, again and again, and measures the time from the kill to
// the next build that another scheduler hands out: the lease runs out, somebody takes over, reads the state,
// and takes a change through merge and layout.
func (k *Cluster) Failover(ctx context.Context, kills int) ([]time.Duration, error) {
	s, err := etcd.Dial(ctx, etcd.DialConfig{Endpoints: k.Endpoints})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	st, err := store.Open(ctx, store.Config{KV: s})
	if err != nil {
		return nil, err
	}
	l := &load{c: k, broken: map[int]bool{}, unsure: map[int]bool{}}
	defer l.close()
	if err := l.clone(ctx, Projects[0]); err != nil {
		return nil, err
	}
	number, err := l.propose(ctx, l.dir+"/"+Projects[0], 1, false)
	if err != nil {
		return nil, err
	}
	c, err := proposed(ctx, k, number)
	if err != nil {
		return nil, err
	}
	var out []time.Duration
	for i := range kills {
		d, err := k.failOnce(ctx, st, c, i)
		if err != nil {
			return out, fmt.Errorf("kill %d: %w", i+1, err)
		}
		out = append(out, d)
		k.Say("kill %d: %v", i+1, d.Round(time.Millisecond))
	}
	return out, nil
}

// proposed is a change of the forge as the core knows it.
func proposed(ctx context.Context, k *Cluster, number int) (*change.Change, error) {
	out, err := Git(ctx, k.Dir, "ls-remote", k.Repository(Projects[0]), fmt.Sprintf("refs/changes/*/%d/1", number))
	if err != nil {
		return nil, err
	}
	commit, ref, ok := strings.Cut(strings.TrimSpace(out), "\t")
	if !ok {
		return nil, fmt.Errorf("change %d has no ref: %q", number, out)
	}
	return &change.Change{Kind: change.KindChange, Project: change.Project{Connection: "local", Host: "local", Name: Projects[0]}, Branch: "main",
		Ref: ref, Commit: commit, Number: strconv.Itoa(number), Patchset: "1", Files: []string{"change-1"}, Open: true, Current: true}, nil
}

var errDispatched = errors.New("dispatched")

func (k *Cluster) failOnce(ctx context.Context, st *store.Store, c *change.Change, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const pipe = "check"
	p, err := k.owner(ctx, st, pipe)
	if err != nil {
		return 0, err
	}
	r, err := st.KV().Range(ctx, kv.Query{Key: "/meta/format"})
	if err != nil {
		return 0, err
	}
	killed := time.Now()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return 0, err
	}
	id := fmt.Sprintf("failover-%d", n)
	if err := st.Send(ctx, Tenant, pipe, &pipeline.Dequeue{Key: c.Key()}, &pipeline.Enqueue{Key: c.Key(), Changes: []*change.Change{c},
		Event: event.Ref{ID: id, At: killed, Key: c.Key(), Stable: c.Stable()}, Force: true}); err != nil {
		return 0, err
	}
	var took time.Duration
	err = st.KV().Watch(ctx, store.RequestPrefix(store.KindBuild), r.Rev+1, func(b kv.Batch) error {
		for _, ch := range b.Changes {
			var q store.Request
			if !ch.Deleted && json.Unmarshal(ch.Value, &q) == nil && q.Event == id {
				took = time.Since(killed)
				return errDispatched
			}
		}
		return nil
	})
	if !errors.Is(err, errDispatched) {
		return 0, err
	}
	p.Wait(5 * time.Second)
	if err := p.Start(); err != nil {
		return 0, err
	}
	return took, p.waitReady(ctx)
}

// owner finds the process that owns a pipeline.
func (k *Cluster) owner(ctx context.Context, st *store.Store, pipe string) (*Proc, error) {
	for {
		e, found, err := kv.Get(ctx, st.KV(), store.OwnerPrefix+"pipeline%20"+Tenant+"%20"+pipe)
		if err != nil {
			return nil, err
		}
		if found {
			i := slices.IndexFunc(k.Procs, func(p *Proc) bool {
				return p.Alive() && strings.Contains(string(e.Value), fmt.Sprintf("-%d-", p.pid()))
			})
			if i >= 0 {
				return k.Procs[i], nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody owns pipeline %s: %w", pipe, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Proc) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}
