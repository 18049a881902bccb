package read

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
)

// ansibleConfig finds the ansible.cfg: that of the root, else the one that is nearest to it and no file
// of a role. Empty where there is none: it may be installed on the bastion only.
func (c *checkout) ansibleConfig() string {
	best := ""
	for _, f := range c.files {
		if path.Base(f) == "ansible.cfg" && !inRole(f) && (best == "" || strings.Count(f, "/") < strings.Count(best, "/")) {
			best = f
		}
	}
	return best
}

func inRole(f string) bool { return strings.Contains("/"+f, "/roles/") }

// inventory finds the sources: those that the settings name, else those of ansible.cfg that are there,
// else usual places.
func (c *checkout) inventory(s deps.Settings) []string {
	if len(s.Inventory) > 0 {
		return s.Inventory
	}
	var out []string
	if config := c.ansibleConfig(); config != "" {
		if data, err := os.ReadFile(filepath.Join(c.root, config)); err == nil {
			out = c.configured(path.Dir(config), string(data))
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, f := range c.files {
		if c.usualInventory(f) {
			out = append(out, f)
		}
	}
	return out
}

// sources are the files of an inventory: a folder of them stands for what Ansible takes from it.
func (c *checkout) sources(inventory []string) []string {
	var out []string
	for _, source := range inventory {
		if c.has(source) {
			out = append(out, source)
			continue
		}
		for _, f := range c.files {
			rest, ok := strings.CutPrefix(f, strings.TrimSuffix(source, "/")+"/")
			if ok && !strings.HasPrefix(path.Base(f), ".") && !slices.ContainsFunc(strings.Split(path.Dir(rest), "/"), func(p string) bool {
				return p == "group_vars" || p == "host_vars" || strings.HasSuffix(p, "_plugins")
			}) && !slices.Contains([]string{".ini", ".cfg", ".orig", ".retry", ".md", ".pyc"}, path.Ext(f)) {
				out = append(out, f)
			}
		}
	}
	return out
}

func (c *checkout) configured(dir, config string) []string {
	var out []string
	for line := range strings.Lines(config) {
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(key) != "inventory" {
			continue
		}
		for source := range strings.SplitSeq(value, ",") {
			source = strings.TrimSpace(source)
			if filepath.IsAbs(source) || source == "" {
				continue
			}
			source = path.Join(dir, source)
			if _, err := os.Stat(filepath.Join(c.root, source)); err == nil {
				out = append(out, source)
			}
		}
	}
	return out
}

// usualInventory reports whether a file looks like a source of an inventory: below a folder named
// inventory or inventories, or one of a usual name beside the playbooks.
func (c *checkout) usualInventory(f string) bool {
	dir, name := path.Split(f)
	parts := strings.Split(strings.TrimSuffix(dir, "/"), "/")
	if inRole(f) || slices.ContainsFunc(parts, func(p string) bool {
		return p == "group_vars" || p == "host_vars" || strings.HasPrefix(p, ".") || p == "test" || p == "tests" || p == "templates" || strings.HasSuffix(p, "_plugins")
	}) || strings.HasPrefix(name, ".") {
		return false
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml"), ".ini")
	if slices.Contains(parts, "inventory") || slices.Contains(parts, "inventories") {
		if isYAML(name) || strings.HasSuffix(name, ".ini") || !strings.Contains(name, ".") && !strings.HasPrefix(name, "README") && name != "Makefile" {
			return true
		}
		info, err := os.Stat(filepath.Join(c.root, f))
		return err == nil && info.Mode()&0o111 != 0
	}
	return (base == "hosts" || base == "inventory") && (dir == "" || dir == "ansible/" || dir == "playbooks/")
}

// variableFiles are the files that define variables of groups, hosts and roles.
func (c *checkout) variableFiles() []string {
	var out []string
	for _, f := range c.files {
		parts := strings.Split(path.Dir(f), "/")
		last := parts[len(parts)-1]
		of := slices.Contains(parts, "group_vars") || slices.Contains(parts, "host_vars") || inRole(f) && (last == "defaults" || last == "vars" ||
			len(parts) > 1 && (parts[len(parts)-2] == "defaults" || parts[len(parts)-2] == "vars"))
		if of && !slices.Contains(parts, "tasks") && (isYAML(f) || strings.HasSuffix(f, ".json") || !strings.Contains(path.Base(f), ".")) {
			out = append(out, f)
		}
	}
	return out
}

// pluginKinds are the names of folders of plugins, as a repository or a collection has them.
var pluginKinds = map[string]string{
	"inventory_plugins": "inventory", "filter_plugins": "filter", "test_plugins": "test", "lookup_plugins": "lookup", "action_plugins": "action", "library": "modules",
	"plugins/inventory": "inventory", "plugins/filter": "filter", "plugins/test": "test", "plugins/lookup": "lookup", "plugins/action": "action", "plugins/modules": "modules",
}

// plugins are the folders of plugins and modules with their kinds, wherever they are: the ansible.cfg that says
// so may be installed on the bastion only.
func (c *checkout) plugins() map[string]string {
	out := map[string]string{}
	for _, f := range c.files {
		if !strings.HasSuffix(f, ".py") {
			continue
		}
		dir := path.Dir(f)
		for _, name := range []string{path.Base(dir), path.Join(path.Base(path.Dir(dir)), path.Base(dir))} {
			if kind := pluginKinds[name]; kind != "" {
				out[dir] = kind
			}
		}
	}
	return out
}
