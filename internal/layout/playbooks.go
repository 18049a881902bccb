package layout

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// rolePrefix is what a repository's name may begin with that is no part of its role's name.
var rolePrefix = regexp.MustCompile(`^(?:ansible[-_.+]*)*(?:role[-_.+]*)*`)

// addRoles puts the roles of v in front. A role that is listed explicitly replaces the implicit one in
// its place.
func (f *frozen) addRoles(v *Variant) {
	var own []job.Role
	if !v.Attached && v.project != nil {
		p := v.File.Source.Project
		own = append(own, job.Role{Project: p, Name: cmp.Or(rolePrefix.ReplaceAllString(p.Short(), ""), p.Short()), Implicit: true})
	}
	for _, r := range v.Roles.Value {
		if p := f.l.names[r.Project]; p != nil {
			own = append(own, job.Role{Project: p.in.Project, Name: cmp.Or(r.Alias, p.in.Project.Short())})
		}
	}
	if len(own) == 0 {
		return
	}
	same := func(a, b job.Role) bool { return a.Project == b.Project && a.Name == b.Name }
	out := slices.Clone(f.roles)
	for i, r := range out {
		for _, n := range own {
			if r.Implicit && !n.Implicit && same(r, n) {
				out[i] = n
			}
		}
	}
	for _, n := range slices.Backward(own) {
		if !slices.ContainsFunc(out, func(r job.Role) bool { return same(r, n) }) {
			out = slices.Insert(out, 0, n)
		}
	}
	f.roles = out
}

// addPlaybooks hands secrets to the playbooks so far where v says so, and adds those of v.
func (f *frozen) addPlaybooks(v *Variant) *freezeError {
	secrets, err := f.secrets(v)
	if err != nil {
		return err
	}
	var parents []job.Secret
	for i, s := range v.Secrets.Value {
		if s.PassToParent {
			parents = append(parents, secrets[i])
		}
	}
	if len(parents) > 0 {
		for _, books := range []*[]job.Playbook{&f.PreRun, &f.Run, &f.PostRun, &f.cleanup} {
			*books = f.passSecrets(*books, parents)
		}
	}
	if len(secrets) > 0 && !v.File.Source.Trusted {
		f.PostReview = true
	}
	books := func(list []config.Playbook, legacy bool) []job.Playbook {
		out := make([]job.Playbook, len(list))
		for i, p := range list {
			out[i] = job.Playbook{Source: v.File.Source, Path: p.Path, Roles: f.roles, Secrets: secrets,
				Semaphores: p.Semaphores, Cleanup: p.Cleanup || legacy, LegacyCleanup: legacy, Level: f.applied}
		}
		return out
	}
	if v.PreRun.Set {
		f.PreRun = slices.Concat(f.PreRun, books(v.PreRun.Value, false))
	}
	if v.Run.Set {
		f.Run = books(v.Run.Value, false)
	}
	if v.PostRun.Set {
		f.PostRun = slices.Concat(books(v.PostRun.Value, false), f.PostRun)
	}
	if v.CleanupRun.Set {
		f.cleanup = slices.Concat(books(v.CleanupRun.Value, true), f.cleanup)
	}
	if v.PostReview.Value {
		f.PostReview = true
	}
	return nil
}

func (f *frozen) secrets(v *Variant) ([]job.Secret, *freezeError) {
	var out []job.Secret
	for _, s := range v.Secrets.Value {
		d := f.l.secrets[s.Secret]
		if d == nil || d.origin != v.project {
			return nil, &freezeError{v, "secrets", fmt.Sprintf("The secret %q was not found", s.Secret)}
		}
		out = append(out, job.Secret{Var: s.Var, Name: s.Secret, Owner: d.origin.in.Project, Data: d.decl.Data})
	}
	return out, nil
}

// passSecrets adds secrets to playbooks, except where one of that name is there already. An untrusted
// playbook that gets one makes the job post-review.
func (f *frozen) passSecrets(books []job.Playbook, secrets []job.Secret) []job.Playbook {
	out := slices.Clone(books)
	for i := range out {
		out[i].Secrets = slices.Clone(out[i].Secrets)
		for _, s := range secrets {
			if !slices.ContainsFunc(out[i].Secrets, func(o job.Secret) bool { return o.Var == s.Var }) {
				out[i].Secrets = append(out[i].Secrets, s)
			}
		}
		if !out[i].Source.Trusted {
			f.PostReview = true
		}
	}
	return out
}
