package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// hazards answers what jobs of a buildset read of each other while they ran at the same time, by what their tasks
// were seen to do.
func (x *Executor) hazards(ctx context.Context, t *store.Task) error {
	var e pipeline.FindHazards
	if err := t.Decode(ctx, &e); err != nil {
		return err
	}
	out, err := x.findHazards(ctx, &e)
	if err != nil {
		return err
	}
	return t.Done(ctx, out)
}

func (x *Executor) findHazards(ctx context.Context, e *pipeline.FindHazards) (*pipeline.HazardsFound, error) {
	out := &pipeline.HazardsFound{Item: e.Item, Buildset: e.Buildset, Token: e.Token}
	seen := map[job.ID][]deps.Observed{}
	for id, build := range e.Builds {
		did, err := x.observed(ctx, string(build))
		switch {
		case errors.Is(err, joblog.ErrNotFound):
			out.Unknown = fmt.Sprintf("what job %s did was not observed", id)
		case err != nil:
			return nil, err
		}
		seen[id] = did
	}
	for _, p := range e.Pairs {
		for _, side := range [][2]job.ID{p, {p[1], p[0]}} {
			if h := deps.Stale(seen[side[0]], seen[side[1]]); h != nil {
				out.Hazards = append(out.Hazards, pipeline.Hazard{Writer: side[0], Reader: side[1], Resource: h.Resource.String(),
					Wrote: fmt.Sprintf("task %q", h.Wrote.Task), Read: fmt.Sprintf("task %q", h.Read.Task)})
			}
		}
	}
	return out, nil
}

// observed reads what the tasks of a build that has ended were seen to do. joblog.ErrNotFound: they were not
// observed.
func (x *Executor) observed(ctx context.Context, build string) (out []deps.Observed, err error) {
	f, err := x.Logs.Attached(ctx, build, deps.ObservedFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 2*maxObserved)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read what build %s was seen to do: %w", build, err)
	}
	return out, nil
}
