package read

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// wanted are the projects that the jobs of a checkout name as sources of roles or as required, in that order.
func (c *checkout) wanted() (roles, required []string) {
	add := func(list *[]string, name string) {
		if name != "" && !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for _, d := range slices.Concat(c.variants(), c.all()) {
		for _, r := range d.Roles.Value {
			add(&roles, r.Project)
		}
		for _, r := range d.RequiredProjects.Value {
			add(&required, r.Project)
		}
	}
	return roles, required
}

// variants are the jobs as the pipelines of projects name them.
func (c *checkout) variants() []placed {
	var out []placed
	for _, f := range c.conf {
		for _, p := range slices.Concat(f.Projects, f.Templates) {
			for _, pp := range p.Pipelines {
				for _, v := range pp.Jobs {
					out = append(out, placed{Job: v, file: f.Source.Path})
				}
			}
		}
	}
	return out
}

// beside finds the checkouts of projects: in the folders that are named, else beside this checkout, by the whole
// name of the project or by the end of it, as people and Zuul lay them down.
func (c *checkout) beside(names, folders []string) map[string]string {
	if len(folders) == 0 {
		for dir, i := filepath.Dir(c.root), 0; i < 3 && len(dir) > 1; dir, i = filepath.Dir(dir), i+1 {
			folders = append(folders, dir)
		}
	}
	out := map[string]string{}
	for _, name := range names {
		parts := strings.Split(name, "/")
	search:
		for i, folder := range folders {
			for n := range parts {
				if n > 0 && i > 0 && n == len(parts)-1 && len(parts) > 1 {
					break // a folder further up that only ends so is somebody else's
				}
				dir := filepath.Join(append([]string{folder}, parts[n:]...)...)
				if abs, err := filepath.Abs(dir); err == nil && abs != c.root && isProject(abs) {
					out[name] = abs
					break search
				}
			}
		}
	}
	return out
}

// isProject reports whether a folder has roles, is one, or has a Zuul configuration.
func isProject(dir string) bool {
	for _, name := range []string{"roles", "tasks", "zuul.d", ".zuul.d", "zuul.yaml", ".zuul.yaml"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// parents reads the definitions of jobs that are parents of those here, and defined in other projects.
func (c *checkout) parents(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(c.projects)) {
		dir := c.projects[name]
		files, err := listFiles(ctx, dir)
		if err != nil {
			return err
		}
		chosen, _ := config.Select(files, nil)
		rel, err := filepath.Rel(c.root, dir)
		if err != nil {
			return err
		}
		for _, file := range chosen {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				return err
			}
			for _, j := range config.Parse(job.Source{Path: file}, data, config.Options{}).Jobs {
				if !slices.Contains(c.names, j.Name) {
					c.definitions[j.Name] = append(c.definitions[j.Name], placed{Job: j, file: path.Join(rel, file), foreign: true})
				}
			}
		}
	}
	return nil
}

// rolesOf are the folders in which roles are that Ansible would not find by itself: those of the checkout, wherever
// they are, as the configuration that says so may be installed elsewhere; then those of other projects, and roles
// that are whole projects, by name.
func (c *checkout) rolesOf() (folders []string, whole map[string]string) {
	whole = map[string]string{}
	for _, f := range c.files {
		if before, _, ok := strings.Cut("/"+f, "/roles/"); ok {
			if dir := filepath.Join(c.root, before, "roles"); !slices.Contains(folders, dir) {
				folders = append(folders, dir)
			}
		}
	}
	roles, required := c.wanted()
	for _, name := range slices.Concat(roles, required) {
		dir := c.projects[name]
		if dir == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, "roles")); err == nil && info.IsDir() {
			folders = append(folders, filepath.Join(dir, "roles"))
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "tasks")); err == nil {
			whole[strings.TrimPrefix(path.Base(name), "ansible-role-")] = dir
		}
	}
	for _, d := range slices.Concat(c.variants(), c.all()) {
		for _, r := range d.Roles.Value {
			if dir := c.projects[r.Project]; dir != "" && r.Alias != "" {
				whole[r.Alias] = dir
			}
		}
	}
	return folders, whole
}

func (c *checkout) all() []placed {
	var out []placed
	for _, name := range c.names {
		out = append(out, c.definitions[name]...)
	}
	return out
}

// absent are the projects with roles that are nowhere: what their roles do is unknown.
func (c *checkout) absent() string {
	roles, _ := c.wanted()
	roles = slices.DeleteFunc(roles, func(name string) bool { return c.projects[name] != "" })
	if len(roles) == 0 {
		return ""
	}
	return fmt.Sprintf("nor are checkouts of %s beside it (--projects names the folder)", strings.Join(roles, ", "))
}

// roleFiles are the files of other projects that roles can consist of, for the key of the cache.
func (c *checkout) roleFiles(ctx context.Context) ([]string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.projects)) {
		files, err := listFiles(ctx, c.projects[name])
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			top, _, _ := strings.Cut(f, "/")
			if slices.Contains([]string{"roles", "tasks", "templates", "files", "vars", "defaults", "handlers", "meta", "library", "filter_plugins"}, top) {
				out = append(out, filepath.Join(c.projects[name], f))
			}
		}
	}
	return out, nil
}
