package ansible

import (
	"maps"
	"slices"
	"sort"
)

// Host is one entry of the inventory: a name, and what only this host has (how to reach it, nodepool).
type Host struct {
	Name string
	// Vars beat whatever the job says: they are facts of the node. Defaults give way.
	Vars     map[string]any
	Defaults map[string]any
}

// Inventory is what a job's playbooks see of nodes and variables.
type Inventory struct {
	Hosts []Host
	// Groups by name, with their hosts.
	Groups map[string][]string
	// Vars are the job's; GroupVars (also of "all") and HostVars (also of "localhost") go on top,
	// groups in alphabetical order, "all" first.
	Vars      map[string]any
	GroupVars map[string]map[string]any
	HostVars  map[string]map[string]any
	// Unreachable are the hosts of group zuul_unreachable.
	Unreachable []string
}

// Localhost is the name of the executor in inventories.
const Localhost = "localhost"

// JobVars are the variables of one host that come from the job, squashed: what is more specific
// replaces, as in Ansible.
func (v *Inventory) JobVars(host string) map[string]any {
	out := maps.Clone(v.Vars)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, v.GroupVars["all"])
	if host != Localhost {
		for _, g := range slices.Sorted(maps.Keys(v.Groups)) {
			if g != "all" && slices.Contains(v.Groups[g], host) {
				maps.Copy(out, v.GroupVars[g])
			}
		}
	}
	maps.Copy(out, v.HostVars[host])
	return out
}

// Render says how variables are written.
type Render struct {
	// Frozen values, by host and name, take the place of templates and are never evaluated again;
	// what could not be frozen is left out. Nil: the job's own values, live.
	Frozen map[string]map[string]any
	// Without are names that something else defines for this playbook (secrets).
	Without []string
	// Verbatim writes every value as data (for runs outside the sandbox).
	Verbatim bool
	// Untagged leaves out every !unsafe: for people and their YAML readers, never for a playbook.
	Untagged bool
	// Extra variables are added to each host (debugging copies).
	Extra map[string]any
}

// Write is the inventory as a file.
func (v *Inventory) Write(r Render) ([]byte, error) {
	hosts := map[string]any{}
	for _, h := range v.Hosts {
		vars := v.render(h.Name, h.Defaults, r)
		maps.Copy(vars, h.Vars)
		hosts[h.Name] = vars
	}
	children := map[string]any{}
	for name, members := range v.Groups {
		children[name] = group(members)
	}
	children["zuul_unreachable"] = group(v.Unreachable)
	return YAML(map[string]any{"all": map[string]any{
		"hosts": hosts, "vars": v.render(Localhost, nil, r), "children": children,
	}})
}

func group(members []string) map[string]any {
	hosts := map[string]any{}
	for _, m := range members {
		hosts[m] = nil
	}
	return map[string]any{"hosts": hosts}
}

func (v *Inventory) render(host string, defaults map[string]any, r Render) map[string]any {
	original := v.JobVars(host)
	maps.Copy(original, r.Extra)
	out := maps.Clone(defaults)
	if out == nil {
		out = map[string]any{}
	}
	switch {
	case r.Frozen != nil:
		for k, x := range r.Frozen[host] {
			out[k] = AllUnsafe(x)
		}
	case r.Verbatim:
		for k, x := range original {
			out[k] = AllUnsafe(x)
		}
	default:
		maps.Copy(out, original)
	}
	for _, name := range r.Without {
		delete(out, name)
	}
	out["unsafe_vars"] = AllUnsafe(original)
	if r.Untagged {
		out["unsafe_vars"] = original
	}
	return out
}

// Names are the hosts of the inventory, in order.
func (v *Inventory) Names() []string {
	var out []string
	for _, h := range v.Hosts {
		out = append(out, h.Name)
	}
	sort.Strings(out)
	return out
}

// Templated tells whether any variable of the job needs rendering.
func (v *Inventory) Templated() bool {
	if HasTemplate(v.Vars) {
		return true
	}
	for _, by := range []map[string]map[string]any{v.GroupVars, v.HostVars} {
		for _, vars := range by {
			if HasTemplate(vars) {
				return true
			}
		}
	}
	return false
}
