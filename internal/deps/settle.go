package deps

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// strongest keeps one edge of each rule and thing between two jobs, the surest, and says on how many
// hosts it holds.
func strongest(edges []Edge) []Edge {
	type key struct {
		kind        EdgeKind
		first, then string
		rule        string
		thing, name string
	}
	index := map[key]int{}
	hosts := map[key]map[string]bool{}
	var out []Edge
	for _, e := range edges {
		k := key{e.Kind, e.First, e.Then, e.Rule, e.Resource.Kind, e.Resource.Name}
		i, ok := index[k]
		switch {
		case !ok:
			index[k], hosts[k] = len(out), map[string]bool{}
			out = append(out, e)
		case compareEdges(e, out[i]) < 0:
			out[i] = e
		}
		if h := e.Resource.Host; h != "" {
			hosts[k][h] = true
		}
	}
	for k, i := range index {
		out[i].Hosts = keys(hosts[k])
	}
	slices.SortFunc(out, compareEdges)
	for i := range out {
		e := &out[i]
		if n := len(e.Hosts) - 1; n > 0 {
			e.Text = strings.Replace(e.Text, " on "+e.Resource.Host, fmt.Sprintf(" on %s and %d more", e.Resource.Host, n), 1)
		}
	}
	return out
}

// reconcile looks at edges that contradict each other: a job that prepares what another needs, and then
// restarts it, is not to wait for it: the restart only excludes it.
func (a *Analysis) reconcile() {
	for i := range a.Edges {
		e := &a.Edges[i]
		if e.Kind != Order || e.Rule != "R3" {
			continue
		}
		if slices.ContainsFunc(a.Edges, func(o Edge) bool {
			return o.Kind == Order && o.First == e.Then && o.Then == e.First && o.Enforced() && o.Rule != "R3"
		}) {
			e.Kind = Mutex
			if e.Confidence == High {
				e.Confidence = Medium
			}
			if e.Then < e.First {
				e.First, e.Then, e.At[0], e.At[1] = e.Then, e.First, e.At[1], e.At[0]
			}
		}
	}
}

// samePlaybook is R8.
func (a *Analysis) samePlaybook() {
	for i := range a.Jobs {
		for k := i + 1; k < len(a.Jobs); k++ {
			x, y := &a.Jobs[i], &a.Jobs[k]
			if x.Private || y.Private || x.Inner != y.Inner || len(a.access[x.Name]) == 0 && len(x.Tasks) > 0 {
				continue
			}
			for _, p := range x.Playbooks {
				if !slices.Contains(y.Playbooks, p) {
					continue
				}
				// With other variables it may be other work: a playbook for all services, say.
				conf, text := High, "both run "+p
				switch {
				case !maps.Equal(x.Vars, y.Vars):
					conf, text = Low, text+", with other variables"
				case !x.Inner && disjoint(x.Nodes, y.Nodes):
					continue
				default:
					meet, known := a.meetSomewhere(x, y)
					if known && !meet {
						continue
					}
					if !known {
						conf = Medium
					}
				}
				a.Edges = append(a.Edges, Edge{Kind: Mutex, First: min(x.Name, y.Name), Then: max(x.Name, y.Name), Rule: "R8", Confidence: conf, Severity: Torn,
					Resource: Resource{Kind: "playbook", Name: p}, Text: text, At: [2]Place{x.At, y.At}})
			}
		}
	}
}

// disjoint reports whether there are names in both lists, and none is in both.
func disjoint(x, y []string) bool {
	return len(x) > 0 && len(y) > 0 && !slices.ContainsFunc(x, func(n string) bool { return slices.Contains(y, n) })
}

// meetSomewhere reports whether two jobs have tasks on the same host; known is false where that cannot be said.
func (a *Analysis) meetSomewhere(x, y *Job) (meet, known bool) {
	known = len(x.Tasks) > 0 && len(y.Tasks) > 0
	hosts := map[string]bool{}
	for i, j := range []*Job{x, y} {
		b := &builder{Analysis: a, job: j}
		for k := range j.Tasks {
			t := &j.Tasks[k]
			list, ok := b.where(t)
			known = known && ok
			for _, h := range list {
				if i == 0 {
					hosts[h] = true
				} else if hosts[h] {
					return true, true
				}
			}
		}
	}
	return false, known
}

// external is R13: two jobs that use the same role from elsewhere on the same host conflict, until it is
// read.
func (a *Analysis) external() {
	type use struct {
		at    Place
		hosts map[string]bool
	}
	uses := map[string]map[string]*use{}
	for i := range a.Jobs {
		j := &a.Jobs[i]
		b := &builder{Analysis: a, job: j}
		for k := range j.Tasks {
			t := &j.Tasks[k]
			name, _ := t.Args["name"].(string)
			if t.Module != External || t.Outer || j.Private || a.table.roles[name] != nil {
				continue
			}
			hosts, _ := b.where(t)
			if uses[name] == nil {
				uses[name] = map[string]*use{}
			}
			if uses[name][j.Name] == nil {
				uses[name][j.Name] = &use{cmp.Or(t.At, Place{File: j.At.File, Line: j.At.Line}), map[string]bool{}}
			}
			if uses[name][j.Name].at.File == "" {
				uses[name][j.Name].at = j.At
			}
			for _, h := range hosts {
				uses[name][j.Name].hosts[h] = true
			}
		}
	}
	for _, role := range keys(uses) {
		jobs := keys(uses[role])
		for i, x := range jobs {
			for _, y := range jobs[i+1:] {
				for _, h := range keys(uses[role][x].hosts) {
					if uses[role][y].hosts[h] {
						a.Edges = append(a.Edges, Edge{Kind: Mutex, First: x, Then: y, Rule: "R13", Confidence: Low, Severity: Torn, Resource: Resource{"role", h, role},
							Text: fmt.Sprintf("both run the role %s on %s, which is not in the repository", role, h), At: [2]Place{uses[role][x].at, uses[role][y].at}})
					}
				}
			}
		}
	}
}

// apiModules only talk to a service, from wherever they run.
var apiModules = map[string]bool{"uri": true, "debug": true, "set_fact": true, "assert": true, "pause": true, "include_vars": true}

// byNaming is R12: a job that only calls an API may configure what a job with the same group or role sets
// up.
func (a *Analysis) byNaming() {
	for i := range a.Jobs {
		api := &a.Jobs[i]
		if len(api.Tasks) == 0 || api.Private || slices.ContainsFunc(api.Tasks, func(t Task) bool { return !apiModules[a.table.name(t.Module)] }) ||
			!slices.ContainsFunc(api.Tasks, func(t Task) bool { return a.table.name(t.Module) == "uri" }) {
			continue
		}
		for k := range a.Jobs {
			other := &a.Jobs[k]
			if other == api || other.Private || !slices.ContainsFunc(other.Tasks, func(t Task) bool { return !apiModules[a.table.name(t.Module)] }) || !a.alike(api, other) {
				continue
			}
			a.Edges = append(a.Edges, Edge{Kind: Order, First: other.Name, Then: api.Name, Rule: "R12", Confidence: Low, Severity: Freshness,
				Text: fmt.Sprintf("%s only calls an API, and works on the same group or role as %s: perhaps it configures what that sets up", api.Name, other.Name),
				At:   [2]Place{other.At, api.At}})
		}
	}
}

// alike reports whether two jobs share a role, or the hosts of a play that are not all hosts.
func (a *Analysis) alike(x, y *Job) bool {
	for _, s := range x.Tasks {
		if s.Role != "" && slices.ContainsFunc(y.Tasks, func(t Task) bool { return t.Role == s.Role }) {
			return true
		}
	}
	for _, p := range x.Plays {
		if !p.Outer && len(p.Hosts) > 0 && p.Hosts[0] != "localhost" && len(p.Hosts) < len(a.Hosts) && slices.ContainsFunc(y.Plays, func(o Play) bool { return slices.Equal(o.Hosts, p.Hosts) }) {
			return true
		}
	}
	return false
}

// secrets is R10: a job that looks up secrets while another may restart their store.
func (a *Analysis) secrets() {
	for i := range a.Jobs {
		j := &a.Jobs[i]
		at := slices.IndexFunc(j.Tasks, func(t Task) bool {
			return slices.ContainsFunc(t.Lookups, func(l string) bool { return store(l) }) || store(t.Module)
		})
		if at < 0 || j.Private {
			continue
		}
		for _, k := range a.Jobs {
			for _, x := range a.access[k.Name] {
				if k.Name != j.Name && (x.Verb == Restart || x.Verb == Write) && (x.Kind == Service || x.Kind == Container) && store(x.Name) {
					a.mutex("R10", Low, Outage, meeting{a: j.Name, b: k.Name, x: Access{Task: &j.Tasks[at], Resource: x.Resource}, y: x},
						"%s looks up secrets while %s may restart %s", j.Name, k.Name, x.Resource)
				}
			}
		}
	}
}

// store reports whether a name is that of a store of secrets.
func store(name string) bool {
	return strings.Contains(name, "vault") || strings.Contains(name, "openbao")
}

// reasons are the edges that people wrote down.
func (a *Analysis) reasons() {
	for _, r := range a.Settings.Reasons {
		a.Edges = append(a.Edges, Edge{Kind: Order, First: a.full(r.After), Then: a.full(r.Job), Rule: "stated", Confidence: High, Severity: Bootstrap,
			Text: r.Reason, At: [2]Place{r.At, r.At}})
	}
}

// full finds the job that a name means: itself, the one that pictures call so, or the only one whose name ends with
// it.
func (a *Analysis) full(name string) string {
	if a.Job(name) != nil {
		return name
	}
	var found []string
	for _, j := range a.Jobs {
		if a.Short(j.Name) == name {
			return j.Name
		}
		if strings.HasSuffix(j.Name, "-"+name) {
			found = append(found, j.Name)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return name
}
