package checkout

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/config"
)

// drivers are the names that say by themselves which driver a connection has.
var drivers = []string{"gerrit", "github", "gitlab", "gitea", "pagure", "git", "local", "smtp", "mqtt", "elasticsearch"}

// signs are words in the options of a connection that only one driver knows.
var signs = map[string]string{
	"patchset-created": "gerrit", "change-merged": "gerrit", "comment-added": "gerrit", "ref-updated": "gerrit",
	"approval": "gerrit", "submit": "gerrit", "current-patchset": "gerrit", "Verified": "gerrit", "Code-Review": "gerrit",
	"pull_request": "github", "pull_request_review": "github", "check_run": "github", "status": "github", "push": "github", "merge": "github", "check": "github",
	"gl_merge_request": "gitlab", "gl_push": "gitlab", "pg_pull_request": "pagure", "pg_push": "pagure",
	"to": "smtp", "from": "smtp", "topic": "mqtt", "index": "elasticsearch",
}

// connections are those that are given, and for all others that pipelines mention, or that names lists, the driver
// that their name or their use suggests. Without either a connection is taken for Gerrit's.
func (l *loader) connections(names map[string]bool) map[string]string {
	out := maps.Clone(l.o.Connections)
	if out == nil {
		out = map[string]string{}
	}
	if l.o.OnlyConnections {
		return out
	}
	votes := map[string]map[string]int{}
	for name := range names {
		votes[name] = map[string]int{}
	}
	for _, r := range l.repos {
		for _, b := range r.branches {
			for path, text := range b.files {
				if strings.HasSuffix(path, ".yaml") && len(text) <= config.MaxBytes && bytes.Contains(text, []byte("pipeline:")) {
					survey(text, votes)
				}
			}
		}
	}
	for name, found := range votes {
		if out[name] == "" && name != "timer" && name != "zuul" {
			out[name] = guessDriver(name, found)
		}
	}
	return out
}

func guessDriver(name string, votes map[string]int) string {
	if slices.Contains(drivers, name) {
		return name
	}
	best, most := "", 0
	for _, d := range slices.Sorted(maps.Keys(votes)) {
		if votes[d] > most {
			best, most = d, votes[d]
		}
	}
	if best != "" {
		return best
	}
	for _, d := range drivers {
		if d != "git" && strings.Contains(name, d) {
			return d
		}
	}
	return "gerrit"
}

// survey counts the signs in the pipelines of a text, by connection. A text that cannot be read has none: the
// parser will tell why.
func survey(text []byte, votes map[string]map[string]int) {
	defer func() { _ = recover() }() // the library panics on some hostile text
	var doc []map[string]map[string]yaml.Node
	if yaml.Unmarshal(text, &doc) != nil && doc == nil {
		return
	}
	for _, item := range doc {
		for attr, n := range item["pipeline"] {
			switch attr {
			case "trigger", "require", "reject", "enqueue", "start", "success", "failure", "merge-conflict", "config-error", "no-jobs", "disabled", "dequeue":
			default:
				continue
			}
			if n.Kind != yaml.MappingNode {
				continue
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				name := n.Content[i].Value
				if votes[name] == nil {
					votes[name] = map[string]int{}
				}
				count(n.Content[i+1], votes[name], 0)
			}
		}
	}
}

func count(n *yaml.Node, votes map[string]int, depth int) {
	if depth > 4 {
		return
	}
	if d := signs[n.Value]; d != "" && n.Kind == yaml.ScalarNode {
		votes[d]++
	}
	for _, c := range n.Content {
		count(c, votes, depth+1)
	}
}

// guessTenant says what a tenant file would: projects with pipelines, base jobs or stanzas of other projects are
// config projects.
func (l *loader) guessTenant() (*config.Tenant, []*repository) {
	l.guessNames()
	t := config.NewTenant("checkout")
	var repos []*repository
	add := func(trusted bool) {
		for _, r := range l.repos {
			if l.trusted(r) != trusted {
				continue
			}
			x := config.NewTenantProject(connection(r), r.name, trusted)
			x.LoadBranch = r.defaultBranch
			x.Classes = append(x.Classes, "image", "flavor", "label", "section", "provider")
			t.Projects = append(t.Projects, x)
			repos = append(repos, r)
		}
	}
	slices.SortStableFunc(l.repos, func(a, b *repository) int { return strings.Compare(a.name, b.name) })
	add(true)
	add(false)
	return t, repos
}

// connection is the name under which a guessed tenant has a repository.
func connection(r *repository) string {
	if r.host != "" {
		return r.host
	}
	return "local"
}

// contents are the parsed files of a repository that would be loaded.
func (l *loader) contents(r *repository) []*config.Content {
	var out []*config.Content
	for _, b := range r.branches {
		chosen, _ := config.SelectFiles(b.files, nil)
		for _, path := range chosen {
			out = append(out, l.content(b.files[path]))
		}
	}
	return out
}

// trusted tells whether a repository does what only config projects may.
func (l *loader) trusted(r *repository) bool {
	for _, c := range l.contents(r) {
		if len(c.PipelineSpans) > 0 {
			return true
		}
		for _, j := range c.Jobs {
			if j.Parent.Set && j.Parent.Value == "" {
				return true
			}
		}
		for _, p := range c.Projects {
			if p.Name != "" && p.Name != r.name && last(p.Name) != last(r.name) {
				return true
			}
		}
	}
	return false
}

// guessNames settles what the projects are called: as it was given, as the remote says, as the configuration calls
// the one of that last part, as the folder.
func (l *loader) guessNames() {
	var called []string // the projects that the configuration mentions
	note := func(name string) {
		if name != "" && name[0] != '^' && !slices.Contains(called, name) {
			called = append(called, name)
		}
	}
	for _, r := range l.repos {
		for _, c := range l.contents(r) {
			for _, p := range c.Projects {
				note(p.Name)
			}
			for _, j := range jobsOf(c) {
				for _, q := range j.RequiredProjects.Value {
					note(q.Project)
				}
				for _, q := range j.Roles.Value {
					note(q.Project)
				}
				for _, q := range j.AllowedProjects.Value {
					note(q)
				}
			}
		}
	}
	taken := map[string]bool{}
	for _, r := range l.repos {
		if !r.named && r.remote != "" {
			r.name = r.remote
		}
		if r.named || r.remote != "" {
			taken[r.name] = true
		}
	}
	for _, r := range l.repos {
		if r.named || r.remote != "" {
			continue
		}
		if name := calledBy(r.name, called); name != "" && !taken[name] {
			r.name = name
		}
		taken[r.name] = true
	}
}

// calledBy is what the configuration calls the repository in a folder: a name that the folder's path ends with, or else
// the only name that ends with the folder's, or that is the folder's with its slashes made underscores.
func calledBy(folder string, called []string) string {
	longest := ""
	var ends []string
	for _, name := range called {
		switch {
		case strings.HasSuffix("/"+folder, "/"+name):
			if len(name) > len(longest) {
				longest = name
			}
		case strings.HasSuffix(name, "/"+folder), strings.ReplaceAll(name, "/", "_") == last(folder):
			ends = append(ends, name)
		}
	}
	switch {
	case longest != "":
		return longest
	case len(ends) == 1:
		return ends[0]
	}
	return ""
}

// jobsOf are all definitions and variants of a text.
func jobsOf(c *config.Content) []*config.Job {
	out := slices.Clone(c.Jobs)
	for _, list := range [][]*config.Project{c.Projects, c.Templates} {
		for _, p := range list {
			for _, pp := range p.Pipelines {
				out = append(out, pp.Jobs...)
			}
		}
	}
	return out
}
