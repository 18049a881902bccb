package executor

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Build runs one build to its end. It knows no store: what it needs comes with s, and what it has to say
// goes through c.
func (x *Executor) Build(ctx context.Context, s *pipeline.Start, c Context) *pipeline.BuildEnded {
	return x.runBuild(ctx, s, c)
}

// keepRecipe keeps the recipe beside the log.
func (b *build) keepRecipe(ctx context.Context) error {
	repos := map[string]map[string]string{}
	for p, refs := range b.states {
		repos[p] = refs
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := json.NewEncoder(z).Encode(pipeline.NewRecipe(b.s, b.tenant, b.pipeline, repos)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return b.x.Logs.Attach(ctx, string(b.s.Build), pipeline.RecipeFile, &packed)
}
