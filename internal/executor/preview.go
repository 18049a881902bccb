package executor

import (
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Checkout is what a project of a workspace has checked out: the commit, and the name of its branch or
// tag.
type Checkout struct {
	Project      change.Project
	Name, Commit string
}

// Checkouts tells what a build's workspace would hold, without laying it out: the projects of the changes
// and the required ones. repos is the repository state that the merger recorded (the blob that
// s.Merge.RepoState names). It is what an executor does, for those who must know it and run nothing.
func Checkouts(s *pipeline.Start, from Sources, repos map[string]map[string]string) ([]Checkout, error) {
	b := preview(s, from, repos)
	list, err := b.wanted()
	if err != nil {
		return nil, err
	}
	out := make([]Checkout, len(list))
	for i, p := range list {
		out[i] = Checkout{p.project, p.at.Name, p.at.Commit}
	}
	return out, nil
}

// CheckoutOf tells where one repository would be read for a build, such as one of its files of variables;
// useRef: the item's own ref may be chosen.
func CheckoutOf(s *pipeline.Start, from Sources, repos map[string]map[string]string, p change.Project, useRef bool) (Checkout, error) {
	b := preview(s, from, repos)
	at, err := b.choose(p, "", "", useRef)
	return Checkout{p, at.Name, at.Commit}, err
}

// ZuulVariables is the dictionary "zuul" of a build, but for what only a running executor knows.
func ZuulVariables(s *pipeline.Start, tenant, pipe string) map[string]any {
	b := preview(s, nil, nil)
	b.tenant, b.pipeline = tenant, pipe
	return b.zuul()
}

// preview is a build that never runs.
func preview(s *pipeline.Start, from Sources, repos map[string]map[string]string) *build {
	b := &build{s: s, x: &Executor{views: &views{sources: from}}, states: states{}}
	for p, all := range repos {
		b.states[p] = refs(all)
	}
	b.spec, b.bases = speculative(b.states, s.Merge)
	if len(s.Refs) > 0 {
		b.primary = b.change(s.Refs[0])
	}
	return b
}
