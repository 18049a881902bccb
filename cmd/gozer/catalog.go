package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
	"github.com/gozer-ci/gozer/internal/web"
)

// layouts tells web what tenants declare, from the layouts that the tenant service has or makes again.
type layouts struct{ tenants *tenant.Service }

func (l layouts) Catalog(ctx context.Context, name string) (*web.Catalog, error) {
	lay, err := l.tenants.Current(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return &web.Catalog{}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &web.Catalog{Variants: map[string][]any{}, Details: map[string]any{}}
	for _, p := range lay.Problems {
		c.Errors = append(c.Errors, api.ConfigError{
			Source: &api.SourceContext{Project: p.Source.Project.Name, Branch: p.Source.Branch, Path: p.Source.Path},
			Error:  p.Text, ShortError: p.Short, Severity: string(p.Severity), Name: p.Name, Line: p.Line,
		})
	}
	labels := map[string]bool{}
	for _, j := range lay.Jobs() {
		c.Jobs = append(c.Jobs, jobSummary(lay, j, labels))
	}
	for _, p := range lay.Projects() {
		kind := "untrusted"
		if lay.Trusted(p) {
			kind = "config"
		}
		c.Projects = append(c.Projects, api.Project{Name: p.Name, Connection: p.Connection, Canonical: p.Canonical(), Type: kind})
	}
	for i := range lay.Pipelines {
		s := &lay.Pipelines[i]
		sum := api.PipelineSummary{Name: s.Name, Triggers: []api.Driver{}}
		for _, f := range s.Triggers {
			if !slices.ContainsFunc(sum.Triggers, func(d api.Driver) bool { return d.Driver == f.Driver }) {
				sum.Triggers = append(sum.Triggers, api.Driver{Driver: f.Driver})
			}
		}
		c.Pipelines = append(c.Pipelines, sum)
	}
	for l := range labels {
		c.Labels = append(c.Labels, l)
	}
	slices.Sort(c.Labels)
	return c, nil
}

func jobSummary(lay *layout.Layout, name string, labels map[string]bool) api.JobSummary {
	sum := api.JobSummary{Name: name, Tags: []string{}, Variants: []api.VariantSummary{}}
	for _, v := range lay.Variants(name) {
		if sum.Description == "" {
			sum.Description, _, _ = strings.Cut(strings.TrimSpace(v.Description.Value), "\n")
		}
		vs := api.VariantSummary{Parent: v.Parent.Value, Branches: []string{}}
		for _, b := range v.Branches {
			vs.Branches = append(vs.Branches, b.Regex)
		}
		sum.Variants = append(sum.Variants, vs)
		if v.Nodeset.Set && v.Nodeset.Value.Inline != nil {
			for _, n := range v.Nodeset.Value.Inline.Nodes {
				labels[n.Label] = true
			}
		}
	}
	return sum
}

// Freeze makes the job graph that the tip of a branch would get.
func (l layouts) Freeze(ctx context.Context, name, pipe, project, branch string) (*job.Graph, error) {
	lay, err := l.tenants.Current(ctx, name)
	if err != nil {
		return nil, err
	}
	p, ok := lay.Project(project)
	if !ok || lay.Pipeline(pipe) == nil {
		return nil, fmt.Errorf("project %s or pipeline %s of tenant %s: %w", project, pipe, name, store.ErrNotFound)
	}
	f := lay.Freeze(layout.FreezeInput{Pipeline: pipe, Changes: []*change.Change{{
		Kind: change.KindBranch, Project: p, Branch: branch, Ref: "refs/heads/" + branch,
	}}})
	if len(f.Problems) > 0 {
		return nil, errors.New(f.Problems[0].Text)
	}
	if f.Graph == nil {
		return &job.Graph{}, nil
	}
	return f.Graph, nil
}

// LeftOut explains the jobs that do not run for an item.
func (l layouts) LeftOut(ctx context.Context, name, id, pipe string, changes []*change.Change, trigger event.Ref) ([]api.ExplainedJob, error) {
	lay, err := l.tenants.Layout(ctx, name, id)
	if err != nil {
		return nil, err
	}
	var out []api.ExplainedJob
	for _, x := range lay.LeftOut(layout.FreezeInput{Pipeline: pipe, Changes: changes, Trigger: trigger}) {
		out = append(out, api.ExplainedJob{Name: x.Job, Why: x.Why})
	}
	return out, nil
}
