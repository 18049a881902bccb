package checkout

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
)

// spec is a path as it was given, taken apart.
type spec struct {
	name, dir, rev string
}

// parseSpec takes [NAME=]PATH[@REVISION] apart. What is a path wins over what looks like the parts.
func parseSpec(s string) (spec, error) {
	if isDir(s) {
		return spec{dir: s}, nil
	}
	out := spec{dir: s}
	if name, rest, ok := strings.Cut(s, "="); ok && !isDir(s) {
		out.name, out.dir = name, rest
		if isDir(rest) {
			return out, nil
		}
	}
	if i := strings.LastIndexByte(out.dir, '@'); i >= 0 && isDir(or(out.dir[:i], ".")) {
		out.dir, out.rev = or(out.dir[:i], "."), out.dir[i+1:]
		return out, nil
	}
	if info, err := os.Stat(out.dir); err == nil && !info.IsDir() {
		return spec{}, fmt.Errorf("%s is a file; name the folder of its repository", out.dir)
	}
	return spec{}, fmt.Errorf("%s is no folder (write PATH, NAME=PATH, or PATH@REVISION)", out.dir)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// How deep folders of repositories are searched, and how many of them a command takes.
const (
	maxDepth        = 4
	maxRepositories = 20_000
)

// find lists the repositories that the paths lead to, each once.
func find(ctx context.Context, o Options) ([]*repository, error) {
	paths := o.Paths
	if len(paths) == 0 {
		paths = []string{here()}
	}
	var out []*repository
	seen := map[string]bool{}
	for _, path := range paths {
		s, err := parseSpec(path)
		if err != nil {
			return nil, err
		}
		found, err := below(s)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if key := r.dir + "@" + r.rev; !seen[key] {
				seen[key] = true
				out = append(out, r)
			}
		}
	}
	if err := inspect(ctx, out, o); err != nil {
		return nil, err
	}
	return out, nil
}

// here is what is meant where no path is given: the folder that we are in, or, where nothing is in or below it, the
// working tree that it is in.
func here() string {
	dir, err := filepath.Abs(".")
	if err != nil {
		return "."
	}
	if found, err := below(spec{dir: dir}); err == nil && len(found) > 0 {
		return "."
	}
	for d := filepath.Dir(dir); d != filepath.Dir(d); d = filepath.Dir(d) {
		if exists(d, ".git") {
			return d
		}
	}
	return "."
}

// below is the repository at a path, or those below it.
func below(s spec) ([]*repository, error) {
	top, err := filepath.Abs(s.dir)
	if err != nil {
		return nil, err
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return nil, err
	}
	if r := at(top); r != nil {
		r.rev, r.name, r.named = s.rev, s.name, s.name != ""
		if r.name == "" {
			r.name = baseName(top)
		}
		return []*repository{r}, nil
	}
	if s.name != "" {
		return nil, fmt.Errorf("%s: %w", s.dir, ErrNothing)
	}
	var out []*repository
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == top {
			return nil //nolint:nilerr // a folder that may not be read has no repository for us
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if n := d.Name(); strings.HasPrefix(n, ".") || n == "node_modules" || strings.Count(rel, string(filepath.Separator)) >= maxDepth {
			return filepath.SkipDir
		}
		r := at(path)
		if r == nil {
			return nil
		}
		r.rev, r.name, r.below = s.rev, strings.TrimSuffix(filepath.ToSlash(rel), ".git"), true
		out = append(out, r)
		if len(out) > maxRepositories {
			return fmt.Errorf("%s has more than %d repositories", s.dir, maxRepositories)
		}
		return filepath.SkipDir
	})
	if err != nil {
		return nil, err
	}
	// A folder of repositories may hold some without configuration: they are projects, too. But something must
	// be there.
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w, and no repository is below it", s.dir, ErrNothing)
	}
	return out, nil
}

func baseName(dir string) string { return strings.TrimSuffix(filepath.Base(dir), ".git") }

// at tells what a folder is; nil, where it is neither a repository nor has configuration.
func at(dir string) *repository {
	r := &repository{dir: dir}
	switch {
	case exists(dir, ".git"):
		r.git = gitDir(dir)
	case exists(dir, "HEAD") && isDir(filepath.Join(dir, "objects")) && isDir(filepath.Join(dir, "refs")):
		r.git, r.bare = dir, true
	case !slices.ContainsFunc(config.NewTenantProject("", "", true).Paths(), func(p string) bool { return exists(dir, p) }):
		return nil
	}
	return r
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
	return err == nil
}

// gitDir is the repository of a working tree, which may be one of several of it. Empty: none that we know.
func gitDir(tree string) string {
	path := filepath.Join(tree, ".git")
	if isDir(path) {
		return path
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	dir, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return ""
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(tree, dir)
	}
	common, err := os.ReadFile(filepath.Join(dir, "commondir"))
	if err != nil {
		return dir
	}
	shared := strings.TrimSpace(string(common))
	if !filepath.IsAbs(shared) {
		shared = filepath.Join(dir, shared)
	}
	return shared
}

// match finds the repository of a project of the tenant file: by its whole name, else by what is near to it. Nil: it
// is not there; an error: two of them are meant equally well.
func match(repos []*repository, project string) (*repository, error) {
	project = strings.TrimSuffix(project, ".git")
	fits := []func(r *repository) bool{
		func(r *repository) bool { return r.name == project },
		func(r *repository) bool { return r.remote == project },
		func(r *repository) bool {
			return strings.HasSuffix(r.name, "/"+project) || strings.HasSuffix(r.remote, "/"+project)
		},
		func(r *repository) bool {
			return !r.named && strings.HasSuffix(filepath.ToSlash(r.dir), "/"+project) || strings.HasSuffix(r.dir, "/"+project+".git")
		},
		func(r *repository) bool { return !r.named && r.remote == "" && baseName(r.dir) == last(project) },
		func(r *repository) bool {
			return !r.named && r.remote == "" && baseName(r.dir) == strings.ReplaceAll(project, "/", "_")
		},
	}
	for _, fit := range fits {
		var found []*repository
		for _, r := range repos {
			if fit(r) {
				found = append(found, r)
			}
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("project %s can be %s or %s; give only one of them, or write %s=FOLDER", project, shorten(found[0].dir), shorten(found[1].dir), project)
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	return nil, nil
}

func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
