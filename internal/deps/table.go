package deps

import (
	_ "embed"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed modules.yaml
var builtinModules []byte

// Table tells what modules and roles do with resources.
type Table struct {
	modules map[string][]AccessRule
	roles   map[string][]AccessRule
}

// AccessRule says how one access follows from the arguments of a task, in the form of modules.yaml.
type AccessRule struct {
	Verb Verb     `yaml:"verb"`
	Kind string   `yaml:"kind"`
	Name []string `yaml:"name"`
	// Port is the argument with the port of an endpoint, where the name is a host and not a URL.
	Port []string `yaml:"port"`
	// Object: the name is that of a Kubernetes object.
	Object    bool             `yaml:"object"`
	If        map[string][]any `yaml:"if"`
	UnlessSet []string         `yaml:"unless_set"`
	Weak      bool             `yaml:"weak"`
}

// NewTable is the built-in table with what the settings of a repository add; theirs go before.
func NewTable(s Settings) (*Table, error) {
	var entries []struct {
		Module []string     `yaml:"module"`
		Access []AccessRule `yaml:"access"`
	}
	if err := yaml.Unmarshal(builtinModules, &entries); err != nil {
		return nil, fmt.Errorf("read the built-in table of modules: %w", err)
	}
	t := &Table{modules: map[string][]AccessRule{}, roles: map[string][]AccessRule{}}
	for _, e := range entries {
		for _, m := range e.Module {
			t.modules[m] = e.Access
		}
	}
	for _, e := range s.Access {
		if e.Module != "" {
			t.modules[e.Module] = e.Access
		}
		if e.Role != "" {
			t.roles[e.Role] = e.Access
		}
	}
	return t, nil
}

// Knows reports whether the table has something to say of a module.
func (t *Table) Knows(module string) bool {
	_, ok := t.modules[module]
	return ok
}

// Of lists what a task does with resources, for each of its hosts.
func (t *Table) Of(task *Task) []Access {
	var out []Access
	rules := append(slices.Clone(t.modules[task.Module]), t.roles[task.Role]...)
	hosts := task.Hosts
	if task.Delegate != nil {
		d, ok := task.Delegate.(string)
		if !ok {
			return nil
		}
		hosts = []string{d}
	}
	for _, r := range rules {
		if !r.applies(task.Args) {
			continue
		}
		for _, h := range hosts {
			for _, res := range r.resources(task.Args, h) {
				out = append(out, Access{Resource: res, Verb: r.Verb, Task: task, Weak: r.Weak})
			}
		}
	}
	return out
}

func (r *AccessRule) applies(args map[string]any) bool {
	for key, want := range r.If {
		if !slices.ContainsFunc(want, func(w any) bool { return fmt.Sprint(w) == fmt.Sprint(args[key]) && args[key] != nil }) {
			return false
		}
	}
	return !slices.ContainsFunc(r.UnlessSet, func(key string) bool { return args[key] != nil })
}

// resources are those that the rule names: none where the argument is absent or unknown.
func (r *AccessRule) resources(args map[string]any, host string) []Resource {
	if hostless[r.Kind] {
		host = ""
	}
	if r.Object {
		return kubernetesObjects(args)
	}
	for _, name := range r.Name {
		values := lookup(args, name)
		if values == nil {
			continue
		}
		var out []Resource
		for _, v := range values {
			if r.Kind == Endpoint {
				if h, port, ok := r.endpoint(args, v, host); ok {
					out = append(out, Resource{Endpoint, h, port})
				}
				continue
			}
			if r.Kind == Service {
				v = strings.TrimSuffix(v, ".service")
			}
			if r.Kind == File && r.Verb != Tree && strings.HasSuffix(v, "/") {
				continue
			}
			out = append(out, Resource{r.Kind, host, v})
		}
		return out
	}
	return nil
}

// lookup finds the texts of an argument; "=x" is x itself.
func lookup(args map[string]any, name string) []string {
	if text, ok := strings.CutPrefix(name, "="); ok {
		return []string{text}
	}
	if list, key, ok := strings.Cut(name, "[]."); ok {
		elements, _ := args[list].([]any)
		var out []string
		for _, e := range elements {
			if m, ok := e.(map[string]any); ok {
				if s, ok := m[key].(string); ok {
					out = append(out, s)
				}
			}
		}
		return out
	}
	switch v := args[name].(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case int, float64:
		return []string{fmt.Sprint(v)}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// endpoint finds host and port in a URL, or in a host and a port argument. An endpoint that is served
// is one of the task's host.
func (r *AccessRule) endpoint(args map[string]any, v, host string) (string, string, bool) {
	if r.Verb == Serve {
		return host, v, true
	}
	if len(r.Port) > 0 {
		for _, p := range r.Port {
			if port := lookup(args, p); len(port) == 1 {
				return v, port[0], true
			}
		}
		return "", "", false
	}
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" {
		return "", "", false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if _, err := strconv.Atoi(port); err != nil {
		return "", "", false
	}
	return u.Hostname(), port, true
}

// kubernetesObjects names the objects of k8s and helm arguments: context, namespace, kind, name.
func kubernetesObjects(args map[string]any) []Resource {
	text := func(m map[string]any, keys ...string) string {
		for _, k := range keys {
			if s, ok := m[k].(string); ok {
				return s
			}
		}
		return ""
	}
	at := text(args, "context", "kubeconfig")
	one := func(m map[string]any) []Resource {
		meta, _ := m["metadata"].(map[string]any)
		kind, name := text(m, "kind"), text(m, "name")
		ns := text(m, "namespace", "release_namespace")
		if meta != nil {
			name, ns = text(meta, "name"), text(meta, "namespace")
		}
		if r := text(m, "release_name"); r != "" {
			kind, name = "Release", r
		}
		if kind == "" || name == "" {
			return nil
		}
		return []Resource{{Kubernetes, "", at + ":" + ns + "/" + kind + "/" + name}}
	}
	switch d := args["definition"].(type) {
	case map[string]any:
		return one(d)
	case []any:
		var out []Resource
		for _, e := range d {
			if m, ok := e.(map[string]any); ok {
				out = append(out, one(m)...)
			}
		}
		return out
	}
	return one(args)
}
