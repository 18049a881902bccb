package deps

import (
	_ "embed"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed modules.yaml
var builtinModules []byte

// Table tells what modules and roles do with resources.
type Table struct {
	modules  map[string][]AccessRule
	roles    map[string][]AccessRule
	commands []command
}

// command says what commands do that a pattern finds; names of groups are arguments.
type command struct {
	pattern *regexp.Regexp
	access  []AccessRule
}

// AccessRule says how one access follows from the arguments of a task, in the form of modules.yaml.
type AccessRule struct {
	Verb Verb     `yaml:"verb"`
	Kind string   `yaml:"kind"`
	Name []string `yaml:"name"`
	// Port is the argument with the port of an endpoint, where the name is a host and not a URL.
	Port []string `yaml:"port"`
	// At is the argument that names another host than the task's, as login_host does.
	At []string `yaml:"at"`
	// Object: the name is that of a Kubernetes object.
	Object    bool             `yaml:"object"`
	If        map[string][]any `yaml:"if"`
	Unless    map[string][]any `yaml:"unless"`
	UnlessSet []string         `yaml:"unless_set"`
	Weak      bool             `yaml:"weak"`
	// Rule is the rule of edges that follow, where it is not the usual one of the kind.
	Rule string `yaml:"rule"`
	// Prefix is an argument that goes before the name, with a space between unless Join; Suffix is put
	// behind it.
	Prefix string `yaml:"prefix"`
	Join   bool   `yaml:"join"`
	Suffix string `yaml:"suffix"`
	// Detail is an argument that says more, as the URL of a request does of what it reads in /etc/hosts.
	Detail string `yaml:"detail"`
}

func (r *AccessRule) check() error {
	if !slices.Contains(verbs, r.Verb) {
		return fmt.Errorf("the verb %q is not known: it is one of %v", r.Verb, verbs)
	}
	if !slices.Contains(kinds, r.Kind) {
		return fmt.Errorf("the kind %q is not known: it is one of %v", r.Kind, kinds)
	}
	return nil
}

// NewTable is the built-in table with what the settings of a repository add; theirs go before.
func NewTable(s Settings) (*Table, error) {
	var entries []struct {
		Module  []string     `yaml:"module"`
		Command string       `yaml:"command"`
		Access  []AccessRule `yaml:"access"`
	}
	if err := yaml.Unmarshal(builtinModules, &entries); err != nil {
		return nil, fmt.Errorf("read the built-in table of modules: %w", err)
	}
	t := &Table{modules: map[string][]AccessRule{}, roles: map[string][]AccessRule{}}
	for _, e := range entries {
		for _, m := range e.Module {
			t.modules[m] = e.Access
		}
		if e.Command != "" {
			t.commands = append(t.commands, command{regexp.MustCompile(e.Command), e.Access})
		}
	}
	for _, e := range s.Access {
		for i := range e.Access {
			if err := e.Access[i].check(); err != nil {
				return nil, fmt.Errorf("%s: %w", e.At, err)
			}
		}
		if e.Module != "" {
			t.modules[t.name(e.Module)] = e.Access
		}
		if e.Role != "" {
			t.roles[e.Role] = e.Access
		}
		if e.Command != "" {
			re, err := regexp.Compile(e.Command)
			if err != nil {
				return nil, fmt.Errorf("%s: command: %w", e.At, err)
			}
			t.commands = append(t.commands, command{re, e.Access})
		}
	}
	return t, nil
}

// External is the module of a task that stands for a role that is not in the repository.
const External = "gozer_role_from_elsewhere"

// collections are those whose modules the table has by their short names.
var collections = []string{"ansible.builtin.", "ansible.legacy.", "ansible.posix.", "community.general.", "community.docker.", "community.crypto.",
	"community.mysql.", "community.postgresql.", "community.hashi_vault.", "containers.podman.", "kubernetes.core.", "community.kubernetes.", "community.okd.",
	"openstack.cloud.", "amazon.aws.", "community.aws."}

// name is how the table calls a module.
func (t *Table) name(module string) string {
	if _, ok := t.modules[module]; ok {
		return module
	}
	for _, c := range collections {
		if short, ok := strings.CutPrefix(module, c); ok {
			return short
		}
	}
	return module
}

// Knows reports whether the table has something to say of a module.
func (t *Table) Knows(module string) bool {
	_, ok := t.modules[t.name(module)]
	return ok
}

// of lists what a task does with resources on hosts.
func (t *Table) of(task *Task, hosts []string) []Access {
	var out []Access
	for _, r := range slices.Concat(t.modules[t.name(task.Module)], t.roles[task.Role], t.elsewhere(task)) {
		if r.applies(task.Args) {
			out = append(out, r.accesses(task, task.Args, hosts)...)
		}
	}
	return append(out, t.command(task, hosts)...)
}

// elsewhere are the rules for a role that is not in the repository, but in gozer.yaml.
func (t *Table) elsewhere(task *Task) []AccessRule {
	if name, ok := task.Args["name"].(string); ok && task.Module == External {
		return t.roles[name]
	}
	return nil
}

func (r *AccessRule) accesses(task *Task, args map[string]any, hosts []string) []Access {
	var out []Access
	if r.Object && len(hosts) == 0 {
		hosts = []string{""} // the executor
	}
	if hostless[r.Kind] && !r.Object || len(hosts) == 0 && (r.Verb == Contact || len(r.At) > 0) {
		hosts = []string{""}
	}
	for _, h := range hosts {
		for _, x := range r.resources(args, h) {
			x.Verb, x.Task, x.Weak, x.Rule = r.Verb, task, r.Weak, r.Rule
			if r.Object && x.Kind == Endpoint {
				x.Verb, x.Weak = Serve, true
			}
			out = append(out, x)
		}
		if r.Object && r.Verb == Write && args["state"] != "absent" {
			for _, o := range kubernetesNeeds(args, h) {
				out = append(out, Access{Resource: o, Verb: Read, Task: task, Weak: true})
			}
		}
	}
	return out
}

// command finds what a command or a shell does, by its words: none of it is sure.
func (t *Table) command(task *Task, hosts []string) []Access {
	module := t.name(task.Module)
	if module != "command" && module != "shell" && module != "raw" && module != "script" {
		return nil
	}
	text := words(task)
	if text == "" {
		return nil
	}
	var out []Access
	for _, c := range t.commands {
		for _, m := range c.pattern.FindAllStringSubmatch(text, -1) {
			args := map[string]any{"chdir": task.Args["chdir"]}
			for i, name := range c.pattern.SubexpNames() {
				if name != "" && m[i] != "" {
					args[name] = m[i]
				}
			}
			for i := range c.access {
				out = append(out, c.access[i].accesses(task, args, hosts)...)
			}
		}
	}
	out = append(out, kubernetesCommand(task, text, hosts)...)
	for i := range out {
		out[i].Weak = true
	}
	return append(out, files(task, text, hosts)...)
}

var redirection = regexp.MustCompile(`\d?>>?\s*(/[\w.@+/-]+)`)

// elsewhere are commands whose other words name files of a container, a pod or another host.
var elsewhere = regexp.MustCompile(`\b(?:docker|podman|nerdctl|docker-compose|docker compose|crictl|kubectl|oc)\s(?:\S+\s+)*?(?:exec|run)\b|(?:^|[\s;&|/])(?:ssh|chroot|nsenter|lxc|virsh|nspawn)\s`)

// mounted is a folder of the host that such a command mounts.
var mounted = regexp.MustCompile(`(?:-v|--volume)[ =](/[\w.@+/-]+):`)

// aPath is an absolute path among the words of a command, not one that it writes to.
var aPath = regexp.MustCompile(`(?:^|[\s="'])/(?:[\w.@+-]+/)+[\w.@+-]+`)

// harmless are programs that do not read the files that they are given.
var harmless = map[string]bool{"rm": true, "mkdir": true, "touch": true, "chown": true, "chmod": true, "test": true, "[": true, "ls": true, "mv": true, "ln": true, "tee": true, "echo": true, "stat": true, "rmdir": true, "chgrp": true, "truncate": true, "install": true, "useradd": true, "usermod": true}

func (r *AccessRule) applies(args map[string]any) bool {
	among := func(want []any, key string) bool {
		return slices.ContainsFunc(want, func(w any) bool { return fmt.Sprint(w) == fmt.Sprint(args[key]) && args[key] != nil })
	}
	for key, want := range r.If {
		if !among(want, key) {
			return false
		}
	}
	for key, other := range r.Unless {
		if among(other, key) {
			return false
		}
	}
	return !slices.ContainsFunc(r.UnlessSet, func(key string) bool { return args[key] != nil })
}

// resources are those that the rule names: none where the argument is absent or unknown.
func (r *AccessRule) resources(args map[string]any, host string) []Access {
	if r.Object {
		var out []Access
		for _, o := range kubernetesObjects(args, host) {
			out = append(out, Access{Resource: o})
		}
		if r.Verb == Write {
			for _, name := range ingresses(args) {
				for _, port := range []string{"80", "443"} {
					out = append(out, Access{Resource: Resource{Endpoint, name, port}, Names: []string{name}})
				}
			}
		}
		return out
	}
	for _, name := range r.Name {
		values := lookup(args, name)
		if values == nil {
			continue
		}
		var out []Access
		for _, v := range values {
			if r.Kind == Endpoint {
				if h, port, ok := r.endpoint(args, v, host); ok {
					out = append(out, Access{Resource: Resource{Endpoint, host, port}, Detail: h})
				}
				continue
			}
			if r.Kind == Service {
				v = strings.TrimSuffix(v, ".service")
			}
			if r.Suffix != "" {
				v += r.Suffix
			}
			if r.Prefix != "" {
				prefix := lookup(args, r.Prefix)
				if len(prefix) == 0 && r.Kind == Cloud {
					prefix = login(args)
				}
				if len(prefix) == 0 {
					continue
				}
				if v = prefix[0] + " " + v; r.Join {
					v = strings.Replace(v, " ", "", 1)
				}
			}
			x := Access{Resource: Resource{r.Kind, host, v}}
			for _, key := range r.At {
				if at := lookup(args, key); len(at) > 0 && !itself(at[0]) && !strings.HasPrefix(at[0], "/") {
					x.Host = at[0]
					break
				}
			}
			if r.Detail != "" {
				x.Detail = strings.Join(lookup(args, r.Detail), " ")
			}
			out = append(out, x)
		}
		return out
	}
	return nil
}

// login names a cloud by where and into what a task logs in, where it does not go by a name.
func login(args map[string]any) []string {
	auth, _ := args["auth"].(map[string]any)
	at, project := lookup(auth, "auth_url"), lookup(auth, "project_name")
	if len(at) == 0 || len(project) == 0 || args["cloud"] != nil {
		return nil
	}
	host, err := url.Parse(at[0])
	if err != nil {
		return nil
	}
	return []string{host.Hostname() + "/" + project[0]}
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
