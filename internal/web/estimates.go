package web

import (
	"context"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// fresh is how long an answer of the history is believed.
const fresh = 30 * time.Second

// estimates remembers what the history says of usual durations.
type estimates struct {
	db  *history.DB
	now func() time.Time

	mu    sync.Mutex
	known map[[3]string]estimated
}

type estimated struct {
	at   time.Time
	jobs map[string]history.Estimate
}

func newEstimates(db *history.DB, now func() time.Time) *estimates {
	return &estimates{db: db, now: now, known: map[[3]string]estimated{}}
}

// of reads the estimates for all projects with items in the pipeline. On an error it still gives what is
// known.
func (e *estimates) of(ctx context.Context, tenant string, st *pipeline.State) (durations, error) {
	var failed error
	got := map[string]map[string]history.Estimate{}
	for _, it := range st.Items {
		for _, k := range it.Changes {
			c := st.Changes[k]
			if c == nil || got[c.Project.Canonical()] != nil {
				continue
			}
			jobs, err := e.project(ctx, [3]string{tenant, st.Settings.Name, c.Project.Canonical()})
			if err != nil {
				failed = err
			}
			got[c.Project.Canonical()] = jobs
		}
	}
	return func(project, job string) time.Duration { return got[project][job].Median }, failed
}

func (e *estimates) project(ctx context.Context, key [3]string) (map[string]history.Estimate, error) {
	e.mu.Lock()
	have, ok := e.known[key]
	e.mu.Unlock()
	if ok && e.now().Sub(have.at) < fresh {
		return have.jobs, nil
	}
	jobs, err := e.db.Estimates(ctx, key[0], key[1], key[2])
	if err != nil {
		return have.jobs, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) > 10000 { // projects that went away
		clear(e.known)
	}
	e.known[key] = estimated{e.now(), jobs}
	return jobs, nil
}
