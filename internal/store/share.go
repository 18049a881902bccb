package store

import (
	"context"
	"fmt"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// common is what all builds of a buildset are asked for with: behind many items it is most of each request, so it
// is kept once.
type common struct {
	Changes    []*change.Change      `json:"changes"`
	Merge      *pipeline.MergeResult `json:"merge"`
	Operations []*pipeline.MergeOp   `json:"operations,omitempty"`
}

// sharers remembers which buildsets' common part was kept as which blob.
type sharers map[pipeline.BuildsetID]string

// share takes the common part out of a build's request, where that is worth it, and names the blob that has it.
// Whoever decodes the request puts it back.
func (s *Store) share(ctx context.Context, known sharers, e *pipeline.Start) (own *pipeline.Start, blob string, err error) {
	if s.written.Load() < 2 || len(e.Changes)+len(e.Operations) < 2*apart {
		return e, "", nil
	}
	blob, ok := known[e.Buildset]
	if !ok {
		if blob, err = s.PutJSON(ctx, common{e.Changes, e.Merge, e.Operations}); err != nil {
			return nil, "", fmt.Errorf("ask for build %s: %w", e.Build, err)
		}
		known[e.Buildset] = blob
	}
	bare := *e
	bare.Changes, bare.Merge, bare.Operations = nil, nil, nil
	return &bare, blob, nil
}
