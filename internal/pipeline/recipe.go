package pipeline

import (
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// RecipeFile is the name under which the recipe of a build is kept beside its log, packed with gzip.
const RecipeFile = "recipe.json.gz"

// Recipe is all that a build was made of but for secrets: enough to run it again, elsewhere, with the
// same frozen job on the same commits.
type Recipe struct {
	Tenant   string `json:"tenant"`
	Pipeline string `json:"pipeline"`
	Start    *Start `json:"start"`
	// Repos is the state of all repositories, as the merger recorded it.
	Repos map[string]map[string]string `json:"repos"`
	// Missing tells which secrets the playbooks had.
	Missing []string `json:"missing,omitempty"`
}

// NewRecipe makes the recipe of a build that is about to start, or has ended. What it gives shares nothing
// that holds a secret with s.
func NewRecipe(s *Start, tenant, pipe string, repos map[string]map[string]string) *Recipe {
	r := &Recipe{Tenant: tenant, Pipeline: pipe, Repos: repos}
	start, j := *s, *s.Job
	strip := func(list []job.Playbook) []job.Playbook {
		out := slices.Clone(list)
		for i := range out {
			for _, x := range out[i].Secrets {
				r.Missing = append(r.Missing, fmt.Sprintf("%s (variable %s of %s)", x.Name, x.Var, out[i].Path))
			}
			out[i].Secrets = nil
		}
		return out
	}
	j.PreRun, j.Run, j.PostRun = strip(j.PreRun), strip(j.Run), strip(j.PostRun)
	start.Job, start.SecretData, start.PostReview = &j, nil, false
	r.Start = &start
	return r
}

// Projects are those whose repositories the recipe needs.
func (r *Recipe) Projects() []change.Project {
	var out []change.Project
	add := func(p change.Project) {
		if p.Name != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, c := range r.Start.Changes {
		add(c.Project)
	}
	j := r.Start.Job
	for _, p := range j.RequiredProjects {
		add(p.Project)
	}
	for _, v := range j.IncludeVars {
		add(v.Project)
	}
	for _, p := range slices.Concat(j.PreRun, j.Run, j.PostRun) {
		add(p.Source.Project)
		for _, role := range p.Roles {
			add(role.Project)
		}
	}
	return out
}
