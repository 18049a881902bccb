package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/store"
)

// RecordPrefix is where the tenants' records are.
const RecordPrefix = "/tenant/"

// Record is what is recorded of a tenant: its present layout and from what it was made. Only the owner of
// the tenant writes it; everybody reads it.
type Record struct {
	Name string `json:"name"`
	// Layout identifies the layout; Sources names the blob with the Sources that it was made from.
	Layout  string `json:"layout"`
	Sources string `json:"sources"`
	// Pipelines in order of the configuration.
	Pipelines []string `json:"pipelines"`
	// Retired are pipelines that left the configuration and may not be at rest yet.
	Retired []string `json:"retired,omitempty"`
	// Gone: the tenant left the tenant file.
	Gone     bool `json:"gone,omitempty"`
	Errors   int  `json:"errors"`
	Warnings int  `json:"warnings"`
	// At is when the layout became the present one.
	At time.Time `json:"at"`
}

// Pipelines are the names of a tenant's pipelines, as last recorded; those of all tenants, by tenant, where name is
// empty. It reads what layouts are recorded as, nothing of the pipelines themselves.
func Pipelines(ctx context.Context, s *store.Store, name string) (map[string][]string, error) {
	out := map[string][]string{}
	records := store.Records[Record](s, RecordPrefix)
	if name != "" {
		r, err := records.Get(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		out[name] = r.Value.Pipelines
		return out, nil
	}
	all, err := records.List(ctx)
	for _, r := range all {
		out[r.Value.Name] = r.Value.Pipelines
	}
	return out, err
}

// Sources is everything that a layout is made from, by content: two schedulers with equal sources have
// equal layouts.
type Sources struct {
	// File is the text of the tenant file.
	File     string           `json:"file"`
	Projects []ProjectSources `json:"projects"`
}

// ProjectSources are those of one project, in the order of loading.
type ProjectSources struct {
	Project       change.Project `json:"project"`
	Trusted       bool           `json:"trusted,omitempty"`
	DefaultBranch string         `json:"default_branch,omitempty"`
	// Unreachable is why the forge shows nothing of the project.
	Unreachable string          `json:"unreachable,omitempty"`
	Branches    []BranchSources `json:"branches,omitempty"`
}

// BranchSources are those of one branch. Files names the blob with the configuration files (text by path)
// at Commit; empty where the branch does not count.
type BranchSources struct {
	Name      string   `json:"name"`
	Commit    string   `json:"commit"`
	Protected bool     `json:"protected,omitempty"`
	Locked    bool     `json:"locked,omitempty"`
	Paths     []string `json:"paths,omitempty"`
	Files     string   `json:"files,omitempty"`
}

func (s *Sources) project(p change.Project) *ProjectSources {
	for i := range s.Projects {
		if s.Projects[i].Project == p {
			return &s.Projects[i]
		}
	}
	return nil
}

// at is the sources of a project, which are mostly those at the index that the project has in its tenant.
func (s *Sources) at(i int, p change.Project) *ProjectSources {
	if i < len(s.Projects) && s.Projects[i].Project == p {
		return &s.Projects[i]
	}
	return s.project(p)
}

func (s *Sources) branch(p change.Project, name string) *BranchSources {
	ps := s.project(p)
	if ps == nil {
		return nil
	}
	for i := range ps.Branches {
		if ps.Branches[i].Name == name {
			return &ps.Branches[i]
		}
	}
	return nil
}

// LayoutRecord says how a layout is made again: from sources, or from another layout and what a change
// proposes.
type LayoutRecord struct {
	Sources string `json:"sources,omitempty"`
	// Base is the tenant's merged layout, Proposed the blob with the files of the changes (a
	// []store.Files), Updates the changes that they come from.
	Base     string       `json:"base,omitempty"`
	Proposed string       `json:"proposed,omitempty"`
	Updates  []change.Key `json:"updates,omitempty"`
}
