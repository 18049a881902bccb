package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// failedBuild is the line of a report about a build that failed.
var failedBuild = regexp.MustCompile(`(?m)^- .*/build/([0-9a-f-]{36}) : (?:FAILURE|POST_FAILURE|TIMED_OUT|RETRY_LIMIT)\b`)

// remarked is of how many failed builds a report says whether that is new.
const remarked = 5

// remark says of the failed builds of a report whether their failures are new, by the history. Where there
// is nothing to compare with it says nothing.
func (p *process) remark(ctx context.Context, tenant string, rep *pipeline.Report) string {
	var out []string
	seen := map[string]bool{}
	for _, m := range rep.Messages {
		for _, found := range failedBuild.FindAllStringSubmatch(m.Message, -1) {
			if seen[found[1]] || len(seen) == remarked {
				continue
			}
			seen[found[1]] = true
			b, err := p.recorded(ctx, tenant, found[1])
			if err != nil {
				continue // a report does not wait for the history
			}
			n, err := p.history.Novelty(ctx, tenant, b)
			if err == nil && n.Builds > 0 {
				out = append(out, b.Job+": "+n.String())
			}
		}
	}
	return strings.Join(out, "\n")
}

// recorded reads a build that is being recorded just now.
func (p *process) recorded(ctx context.Context, tenant, uuid string) (*history.Build, error) {
	for {
		b, err := p.history.Build(ctx, tenant, uuid)
		if err == nil && b.Result != "" {
			return b, nil
		}
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
