package executor

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
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

// Preflight tells what keeps a build from running its playbooks: a checkout that cannot be chosen, a file of
// variables, a playbook or a role that is not there. The result is empty where nothing does. files lists the paths of a
// project at a commit.
func Preflight(s *pipeline.Start, from Sources, repos map[string]map[string]string, files func(change.Project, string) ([]string, error)) (pipeline.Result, string, error) {
	b := preview(s, from, repos)
	err := b.preflight(files)
	var h halt
	if errors.As(err, &h) {
		return h.result, h.detail, nil
	}
	return "", "", err
}

func (b *build) preflight(files func(change.Project, string) ([]string, error)) error {
	if _, err := b.wanted(); err != nil {
		return err
	}
	for _, iv := range b.s.Job.IncludeVars {
		p, at, err := b.includeCheckout(iv)
		if err != nil {
			return err
		}
		list, err := files(p, at.Commit)
		if err != nil {
			return err
		}
		if iv.Required && !slices.Contains(list, path.Clean(iv.Path)) {
			return noVars(iv, p, at)
		}
	}
	for _, p := range slices.Concat(b.s.Job.PreRun, b.s.Job.Run, b.s.Job.PostRun) {
		at, err := b.playbookCheckout(p)
		if err != nil {
			return err
		}
		list, err := files(p.Source.Project, at.Commit)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(playbookNames(p.Path), func(n string) bool { return slices.Contains(list, n) }) {
			return noPlaybook(p, errNoFile)
		}
		for _, r := range p.Roles {
			if err := b.lookForRole(p, at, r, files); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *build) lookForRole(p job.Playbook, own checkout, r job.Role, files func(change.Project, string) ([]string, error)) error {
	at, err := b.roleCheckout(p, own, r.Project)
	if err != nil {
		return err
	}
	list, err := files(r.Project, at.Commit)
	if err != nil {
		return err
	}
	found := r.Implicit || slices.ContainsFunc(list, func(f string) bool {
		return strings.HasPrefix(f, "tasks/") || strings.HasPrefix(f, "roles/")
	})
	if !found {
		return noRole(p, r, at)
	}
	return nil
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
