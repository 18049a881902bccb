package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

type tenantStatus struct {
	ConfigErrorCount int `json:"config_error_count"`
}

// roles that a process may have, in the order in which people look for them.
var roles = []string{"store", "scheduler", "merger", "launcher", "executor", "reporter", "history", "web"}

func (s *Server) info(r *request) (any, error) {
	var out api.Info
	i := &out.Info
	i.Capabilities.JobHistory = true
	i.Capabilities.Auth = api.AuthInfo{Realms: map[string]api.Realm{}}
	for n, a := range s.Auth.Authenticators() {
		if n == 0 {
			i.Capabilities.Auth.DefaultRealm = a.Realm
		}
		i.Capabilities.Auth.Realms[a.Realm] = api.Realm{Authority: a.Issuer, ClientID: a.Audience, Driver: "HS256"}
	}
	i.WebSocket, i.Tenant = strings.Replace(s.Public, "http", "ws", 1), r.tenant
	return out, nil
}

func (s *Server) connections(*request) (any, error) {
	return append([]api.Connection{}, s.Connections...), nil
}

func (s *Server) components(r *request) (any, error) {
	out := map[string][]api.Component{}
	owns, err := s.Store.Owned(r.Context())
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		members, err := s.Store.Members(r.Context(), role)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			var paused *api.ComponentPause
			if m.Paused != nil {
				paused = &api.ComponentPause{By: m.Paused.By, Reason: m.Paused.Reason, Since: m.Paused.Since}
			}
			out[role] = append(out[role], api.Component{Hostname: m.Host, State: m.State, Version: m.Version, ID: m.ID, Detail: m.Detail,
				Component: m.Component, Paused: paused, Started: m.Started, Reads: m.Reads, Writes: m.Writes, Owns: append([]string{}, owns[store.Holding{Member: m.ID, Role: role}]...)})
		}
	}
	return out, nil
}

func (s *Server) authorizations(r *request) (any, error) {
	var out api.Authorizations
	out.Zuul.Scope = []string{}
	id, err := s.Auth.Who(r.Request)
	if err != nil {
		return nil, err
	}
	names := []string{r.tenant}
	if r.tenant == "" {
		names = s.feeds.tenants()
	}
	for _, t := range names {
		admin, err := s.Auth.Admin(r.Context(), id, t)
		if err != nil {
			return nil, err
		}
		if admin {
			out.Zuul.Admin = true
			out.Zuul.Scope = append(out.Zuul.Scope, t)
		}
	}
	return out, nil
}

// catalog is what the tenant declares; an empty one where there is nobody to ask.
func (s *Server) catalog(r *request) (*Catalog, error) {
	if s.Layouts == nil {
		return &Catalog{}, nil
	}
	return s.Layouts.Catalog(r.Context(), r.tenant)
}

func (s *Server) tenantStatus(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	return tenantStatus{len(c.Errors)}, nil
}

func (s *Server) configErrors(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	limit, err := number(q, "limit", 50)
	if err != nil {
		return nil, err
	}
	skip, err := number(q, "skip", 0)
	if err != nil {
		return nil, err
	}
	out := []api.ConfigError{}
	for _, e := range c.Errors {
		src := e.Source
		if src == nil {
			src = &api.SourceContext{}
		}
		if fits(q["project"], src.Project) && fits(q["branch"], src.Branch) && fits(q["severity"], e.Severity) && isNamed(e.Name, q["name"]) {
			out = append(out, e)
		}
	}
	out = out[min(skip, len(out)):]
	return out[:min(limit, len(out))], nil
}

func fits(want []string, have string) bool { return len(want) == 0 || slices.Contains(want, have) }

func isNamed(name string, asked []string) bool {
	return len(asked) == 0 || slices.ContainsFunc(asked, func(a string) bool { return config.IsNamed(name, a) })
}

func (s *Server) jobs(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	return append([]api.JobSummary{}, c.Jobs...), nil
}

func (s *Server) job(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	if v := c.Variants[r.vars["name"]]; v != nil {
		return v, nil
	}
	return nil, missing("tenant %s has no job %q", r.tenant, r.vars["name"])
}

func (s *Server) projects(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	return append([]api.Project{}, c.Projects...), nil
}

func (s *Server) project(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	for _, p := range c.Projects {
		if p.Name == r.vars["project"] || p.Canonical == r.vars["project"] {
			if d := c.Details[p.Canonical]; d != nil {
				return d, nil
			}
			return p, nil
		}
	}
	return nil, missing("tenant %s has no project %q", r.tenant, r.vars["project"])
}

func (s *Server) pipelines(r *request) (any, error) {
	c, err := s.catalog(r)
	if err != nil {
		return nil, err
	}
	if c.Pipelines != nil {
		return c.Pipelines, nil
	}
	out := []api.PipelineSummary{}
	if f := s.feeds.of(r.tenant); f != nil {
		for _, p := range f.snapshot(s.Now()).Pipelines {
			sum := api.PipelineSummary{Name: p.Name, Triggers: []api.Driver{}}
			for _, t := range p.Triggers {
				sum.Triggers = append(sum.Triggers, api.Driver{Driver: t})
			}
			out = append(out, sum)
		}
	}
	return out, nil
}

func (s *Server) freeze(r *request) (*job.Graph, error) {
	if s.Layouts == nil {
		return nil, missing("this process has no layout to freeze jobs of")
	}
	return s.Layouts.Freeze(r.Context(), r.tenant, r.vars["pipeline"], r.vars["project"], r.vars["branch"])
}

func (s *Server) freezeJobs(r *request) (any, error) {
	g, err := s.freeze(r)
	if err != nil {
		return nil, err
	}
	out := []api.FreezeJob{}
	for _, j := range g.Jobs {
		f := api.FreezeJob{Name: j.Name, Dependencies: []api.Dependency{}}
		for _, d := range j.Dependencies {
			if on := g.Job(d.Job); on != nil {
				f.Dependencies = append(f.Dependencies, api.Dependency{Name: on.Name, Soft: d.Soft})
			}
		}
		out = append(out, f)
	}
	return out, nil
}

func (s *Server) freezeJob(r *request) (any, error) {
	g, err := s.freeze(r)
	if err != nil {
		return nil, err
	}
	for _, j := range g.Jobs {
		if j.Name == r.vars["job"] {
			return frozen(j), nil
		}
	}
	return nil, missing("pipeline %s runs no job %q there", r.vars["pipeline"], r.vars["job"])
}

// frozen tells what a job would run with. Secrets are named; their values, encrypted or not, are not
// part of the answer.
func frozen(j *job.Job) map[string]any {
	playbooks := func(list []job.Playbook) []map[string]any {
		out := []map[string]any{}
		for _, p := range list {
			secrets := map[string]string{}
			for _, x := range p.Secrets {
				secrets[x.Var] = "REDACTED"
			}
			out = append(out, map[string]any{"connection": p.Source.Project.Connection, "project": p.Source.Project.Name,
				"branch": p.Source.Branch, "trusted": p.Source.Trusted, "path": p.Path, "secrets": secrets, "semaphores": append([]string{}, p.Semaphores...)})
		}
		return out
	}
	return map[string]any{"job": j.Name, "voting": j.Voting, "timeout": j.Timeout.Seconds(), "post_timeout": j.PostTimeout.Seconds(),
		"vars": j.Vars, "extra_vars": j.ExtraVars, "host_vars": j.HostVars, "group_vars": j.GroupVars, "secret_vars": "REDACTED", "ssh_keys": "REDACTED",
		"pre_playbooks": playbooks(j.PreRun), "playbooks": playbooks(j.Run), "post_playbooks": playbooks(j.PostRun), "nodeset": j.Nodeset,
		"override_branch": j.OverrideBranch, "override_checkout": j.OverrideCheckout, "ansible_version": j.AnsibleVersion,
		"ansible_split_streams": j.AnsibleSplitStreams, "workspace_scheme": j.WorkspaceScheme, "workspace_checkout": j.WorkspaceCheckout,
		"failure_output": append([]string{}, j.FailureOutput...), "semaphores": j.Semaphores}
}

func (s *Server) labels(r *request) (any, error) {
	c, err := s.catalog(r)
	out := []api.Name{}
	if err != nil {
		return nil, err
	}
	for _, l := range c.Labels {
		out = append(out, api.Name{Name: l})
	}
	return out, nil
}

// semaphores are those that the tenant's pipelines know or its jobs hold.
func (s *Server) semaphores(r *request) (any, error) {
	known := map[string]pipeline.Semaphore{}
	for _, st := range s.feeds.all(r.tenant) {
		for name, sem := range st.Tenant.Semaphores {
			known[name] = sem
		}
	}
	own, _, err := s.Store.Semaphores(r.Context(), r.tenant)
	if err != nil {
		return nil, err
	}
	global, _, err := s.Store.Semaphores(r.Context(), "")
	if err != nil {
		return nil, err
	}
	for name := range own.Holders {
		if _, ok := known[name]; !ok {
			known[name] = pipeline.Semaphore{Max: 1}
		}
	}
	out := []api.Semaphore{}
	for name, sem := range known {
		holders := own.Holders[name]
		if sem.Global {
			holders = global.Holders[name]
		}
		h := api.SemaphoreHolders{Count: len(holders), ThisTenant: []api.SemaphoreHolder{}}
		for _, x := range holders {
			if x.Tenant == r.tenant {
				h.ThisTenant = append(h.ThisTenant, api.SemaphoreHolder{Buildset: string(x.Buildset), Job: string(x.Job)})
			} else {
				h.OtherTenants++
			}
		}
		out = append(out, api.Semaphore{Name: name, Global: sem.Global, Max: max(sem.Max, 1), Holders: h})
	}
	slices.SortFunc(out, func(a, b api.Semaphore) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Server) key(w http.ResponseWriter, r *request) error {
	return s.public(w, r, func(pem, _ string) string { return pem })
}

func (s *Server) sshKey(w http.ResponseWriter, r *request) error {
	return s.public(w, r, func(_, ssh string) string { return ssh })
}

func (s *Server) public(w http.ResponseWriter, r *request, choose func(pem, ssh string) string) error {
	if s.Keys == nil {
		return missing("this process has no key of project %s", r.vars["project"])
	}
	pem, ssh, err := s.Keys.Public(r.Context(), r.tenant, r.vars["project"])
	if err != nil {
		return err
	}
	text(w, choose(pem, ssh))
	return nil
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
