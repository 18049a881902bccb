package read

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
)

// branches are the names by which variants of jobs may mean what is checked out: that of the branch that it follows,
// else the usual ones and its own, as whoever works on something has a branch that Zuul does not know.
func branches(ctx context.Context, root string) []string {
	if out, err := git(ctx, "-C", root, "rev-parse", "--abbrev-ref", "HEAD@{upstream}"); err == nil {
		if _, name, ok := strings.Cut(strings.TrimSpace(string(out)), "/"); ok {
			return []string{name}
		}
	}
	names := []string{"main", "master"}
	if out, err := git(ctx, "-C", root, "symbolic-ref", "--short", "HEAD"); err == nil {
		names = append(names, strings.TrimSpace(string(out)))
	}
	return names
}

// here reports whether a definition or a variant of a job counts for the branch that is checked out.
func (c *checkout) here(j *config.Job) bool {
	return !j.Branches.Set || len(j.Branches.Value) == 0 || slices.ContainsFunc(c.branches, func(b string) bool {
		return slices.ContainsFunc(j.Branches.Value, func(p change.Pattern) bool { return p.Match(b) })
	})
}

// foreign finds the stanzas of projects that are not the one that is checked out: where a stanza has no name, or the
// name of the checkout, those with another; where none has, all but the first to have jobs. Their jobs run for changes of
// other projects, in buildsets of their own.
func (c *checkout) foreign(ctx context.Context) map[string]bool {
	own, first := "", ""
	var names []string
	for _, f := range c.conf {
		for _, p := range f.Projects {
			switch {
			case p.Name == "":
				own = "."
			case strings.HasPrefix(p.Name, "^"):
			default:
				if !slices.Contains(names, p.Name) {
					names = append(names, p.Name)
				}
				if first == "" && len(p.Pipelines)+len(p.Templates) > 0 {
					first = p.Name
				}
			}
		}
	}
	if own == "" {
		own = c.called(ctx, names)
	}
	if own == "" {
		own = first
	}
	out := map[string]bool{}
	for _, n := range names {
		if n != own {
			out[n] = true
		}
	}
	return out
}

// called is the name among some that the checkout goes by: as it was cloned, or as its folders say.
func (c *checkout) called(ctx context.Context, names []string) string {
	places := []string{c.root}
	if out, err := git(ctx, "-C", c.root, "remote", "get-url", "origin"); err == nil {
		places = append([]string{strings.TrimSuffix(strings.TrimSpace(string(out)), ".git")}, places...)
	}
	for _, place := range places {
		for _, n := range names {
			if place == n || strings.HasSuffix(place, "/"+n) || strings.HasSuffix(place, ":"+n) {
				return n
			}
		}
	}
	for _, n := range names {
		if filepath.Base(n) == filepath.Base(places[0]) {
			return n
		}
	}
	return ""
}
