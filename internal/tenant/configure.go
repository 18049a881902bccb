package tenant

import (
	"context"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Configure answers a pipeline's question which layout counts for an item, and what its jobs are.
func (s *Service) Configure(ctx context.Context, tenant, pipe string, req *pipeline.Configure) (*pipeline.Configured, error) {
	out := &pipeline.Configured{Item: req.Item, Buildset: req.Buildset}
	ahead, err := s.Layout(ctx, tenant, req.Ahead)
	if err != nil {
		return nil, err
	}
	use := ahead
	if len(req.Updates) > 0 {
		d, live, err := s.propose(ctx, tenant, ahead, req)
		if err != nil {
			return nil, err
		}
		out.Problems, out.Warnings = divide(d.Problems)
		if d.Blocked() {
			// What blocks this item does not reach those behind it, who build on what is ahead of it.
			out.Layout = ahead.ID
			out.NotInPipeline = !live.Runs(pipe, req.Changes) // where nothing runs, nobody is told
			return out, nil
		}
		out.Problems = nil
		use = d.Layout
	}
	out.Layout = use.ID
	changes := make([]*change.Change, len(req.Changes))
	for i, c := range req.Changes {
		one := *c
		if len(req.Containing) > 0 {
			one.ContainingBranches = req.Containing
		}
		changes[i] = &one
	}
	f := use.Freeze(layout.FreezeInput{Pipeline: pipe, Changes: changes, Trigger: req.Trigger, Ahead: ahead})
	out.NotInPipeline, out.Graph = f.NotInPipeline, f.Graph
	problems, warnings := divide(f.Problems)
	out.Problems = append(out.Problems, problems...)
	out.Warnings = append(out.Warnings, warnings...)
	return out, nil
}

// propose makes the layout of what the item and those ahead of it propose, and records how, so that other
// processes can make it too. Live is the tenant's merged layout.
func (s *Service) propose(ctx context.Context, tenant string, ahead *layout.Layout, req *pipeline.Configure) (layout.Dynamic, *layout.Layout, error) {
	rec, err := s.Record(ctx, tenant)
	if err != nil {
		return layout.Dynamic{}, nil, err
	}
	live, err := s.Layout(ctx, tenant, rec.Layout)
	if err != nil {
		return layout.Dynamic{}, nil, err
	}
	in, err := s.proposal(ctx, live, req.Config)
	if err != nil {
		return layout.Dynamic{}, nil, err
	}
	in.Changes = req.Changes
	if ahead.ID != live.ID {
		in.Ahead = ahead
	}
	d := live.Dynamic(in)
	if d.Layout != nil && d.Layout.ID != live.ID {
		s.keep(d.Layout)
		err := s.recordLayout(ctx, tenant, d.Layout.ID, LayoutRecord{Base: live.ID, Proposed: req.Config, Updates: req.Updates})
		if err != nil {
			return layout.Dynamic{}, nil, err
		}
	}
	return d, live, nil
}

// proposal parses the configuration files that a merger read from the merged changes.
func (s *Service) proposal(ctx context.Context, live *layout.Layout, blob string) (layout.DynamicInput, error) {
	in := layout.DynamicInput{Sealed: map[layout.SecretID]string{}}
	if blob == "" {
		return in, nil
	}
	var files []store.Files
	if err := s.store.JSON(ctx, blob, &files); err != nil {
		return in, fmt.Errorf("read the proposed configuration: %w", err)
	}
	for _, f := range files {
		if !live.Reads(f.Project, f.Branch) {
			continue
		}
		x := live.Options(f.Project)
		b := s.branch(x, f.Project, f.Branch, f.Files)
		if err := s.sealed(ctx, f.Project, b.Files, in.Sealed); err != nil {
			return in, err
		}
		in.Proposed = append(in.Proposed, layout.Proposal{Project: f.Project, Branch: f.Branch, Files: b.Files, Ignored: b.Ignored})
	}
	return in, nil
}

// dynamic makes a recorded dynamic layout again.
func (s *Service) dynamic(ctx context.Context, live *layout.Layout, blob string) (layout.Dynamic, error) {
	in, err := s.proposal(ctx, live, blob)
	if err != nil {
		return layout.Dynamic{}, err
	}
	return live.Redo(in), nil
}

// divide divides problems into those that block and the texts of those that are only told.
func divide(list []config.Problem) (problems []pipeline.Problem, warnings []string) {
	blocks := slices.ContainsFunc(list, func(p config.Problem) bool { return p.Severity == config.Error })
	for _, p := range list {
		if !blocks || p.Severity != config.Error {
			warnings = append(warnings, p.Text)
			continue
		}
		problems = append(problems, pipeline.Problem{
			Name: p.Name, Severity: string(p.Severity), Project: p.Source.Project.Canonical(), Branch: p.Source.Branch,
			Path: p.Source.Path, Line: p.Line, EndLine: p.EndLine, Text: p.Text, Short: p.Short,
		})
	}
	return problems, warnings
}
