package deps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// meeting is two jobs' accesses that a rule looks at.
type meeting struct {
	a, b string
	x, y Access
}

// infer applies all rules to all pairs of jobs.
func (a *Analysis) infer() {
	a.learnNames()
	for _, j := range a.Jobs {
		for _, x := range a.access[j.Name] {
			for _, k := range a.Jobs {
				if k.Name == j.Name {
					continue
				}
				for _, y := range a.access[k.Name] {
					a.meet(meeting{a: j.Name, b: k.Name, x: x, y: y})
				}
			}
		}
	}
	a.samePlaybook()
	a.external()
	a.byNaming()
	a.secrets()
	a.reasons()
	a.Edges = strongest(a.Edges)
}

// learnNames finds which host serves a port that nobody else serves, so that a URL with a name that is
// not in the inventory can still be followed.
func (a *Analysis) learnNames() {
	served := map[string][]string{}
	for _, list := range a.access {
		for _, x := range list {
			if x.Kind == Endpoint && x.Verb == Serve && !slices.Contains(served[x.Name], x.Host) {
				served[x.Name] = append(served[x.Name], x.Host)
			}
		}
	}
	for port, hosts := range served {
		if len(hosts) == 1 {
			a.names[":"+port] = hosts[0]
		}
	}
}

// follow finds the host that a name leads to, and how sure that is.
func (a *Analysis) follow(name, port string) (string, Confidence) {
	if _, ok := a.Hosts[name]; ok {
		return name, High
	}
	if host, ok := a.names[name]; ok {
		return host, High
	}
	if short, _, ok := strings.Cut(name, "."); ok && a.Hosts[short] != nil {
		return short, High
	}
	if name == "localhost" || strings.HasPrefix(name, "127.") {
		return "", Low
	}
	if host := a.names[":"+port]; host != "" && port != "80" && port != "443" {
		return host, Medium
	}
	return "", Low
}

// meet applies the rules on pairs of accesses. It is called for both directions.
func (a *Analysis) meet(m meeting) {
	if m.x.Kind != m.y.Kind {
		return
	}
	switch m.x.Kind {
	case File:
		a.files(m)
	case Service, Container:
		a.services(m)
	case PackageManager, Firewall:
		a.exclusive(m)
	case Kubernetes:
		a.kubernetes(m)
	case Account:
		a.accounts(m)
	case Endpoint:
		a.endpoints(m)
	case DNS:
		a.zones(m)
	}
}

func writes(v Verb) bool { return v == Write || v == Edit }

// need says what is lost where y comes without x: where its task may fail, only freshness.
func need(y Access) Severity {
	if y.Task.Tolerant || y.Task.Guarded {
		return Freshness
	}
	return Bootstrap
}

// certain lowers the confidence for accesses that only may be.
func certain(best Confidence, list ...Access) Confidence {
	for _, x := range list {
		if x.Weak && best == High {
			best = Medium
		}
	}
	return best
}

// files is R1 (a file that one writes and the other reads), R2 (a read below a directory that the
// other fills) and R4 (both write).
func (a *Analysis) files(m meeting) {
	x, y := m.x, m.y
	if x.Host != y.Host {
		return
	}
	switch {
	case writes(x.Verb) && y.Verb == Read && x.Name == y.Name && !a.also(m.b, y.Resource):
		a.order("R1", certain(High, x, y), need(y), m, "%s writes %s, which %s reads", m.a, x.Resource, m.b)
	case (x.Verb == Fill || x.Verb == Tree) && y.Verb == Read && below(y.Name, x.Name) && !a.also(m.b, y.Resource):
		a.order("R2", certain(High, x, y), need(y), m, "%s fills %s, below which %s reads %s", m.a, x.Resource, m.b, y.Name)
	case writes(x.Verb) && writes(y.Verb) && x.Name == y.Name && m.a < m.b:
		conf := High
		if x.Task.At == y.Task.At && x.Verb == Write && y.Verb == Write {
			// The same task of a shared role, with the same content: at worst one of them is done twice.
			conf = Low
		}
		a.mutex("R4", conf, Torn, m, "both write %s", x.Resource)
	case x.Verb == Tree && writes(y.Verb) && below(y.Name, x.Name) && m.a != m.b:
		a.mutex("R4b", Medium, Torn, m, "%s manages all of %s, below which %s writes %s", m.a, x.Resource, m.b, y.Name)
	}
}

// also reports whether the job writes the resource itself: then what it reads is not surely the other's.
func (a *Analysis) also(job string, r Resource) bool {
	return slices.ContainsFunc(a.access[job], func(x Access) bool {
		return x.Resource == r && writes(x.Verb) || x.Kind == File && x.Host == r.Host && (x.Verb == Fill || x.Verb == Tree) && below(r.Name, x.Name)
	})
}

// services is R3: x restarts what y owns, so y should be there first. Who only uses a service that the
// other owns comes after it.
func (a *Analysis) services(m meeting) {
	x, y := m.x, m.y
	if x.Resource != y.Resource {
		return
	}
	switch {
	case x.Verb == Restart && y.Verb == Write:
		m.a, m.b, m.x, m.y = m.b, m.a, m.y, m.x
		a.order("R3", certain(High, x, y), Outage, m, "%s restarts %s, which %s sets up", m.b, x.Resource, m.a)
	case x.Verb == Write && y.Verb == Use:
		a.order("R9", certain(Medium, x, y), Bootstrap, m, "%s sets up %s, which %s uses", m.a, x.Resource, m.b)
	case x.Verb == Write && y.Verb == Write && m.a < m.b:
		a.mutex("R3", Medium, Outage, m, "both set up %s", x.Resource)
	}
}

// exclusive is R5: the package manager or the firewall of one host.
func (a *Analysis) exclusive(m meeting) {
	if m.x.Resource != m.y.Resource || m.a > m.b {
		return
	}
	cure := ""
	if m.x.Kind == PackageManager && waits(m.x.Task) && waits(m.y.Task) {
		// Both wait by themselves: nothing breaks, one only takes longer.
		a.mutex("R5", Low, Torn, m, "both use %s, and both wait for it by lock_timeout", m.x.Resource)
		return
	}
	if m.x.Kind == PackageManager {
		cure = "; lock_timeout on the tasks would make them wait by themselves"
	}
	a.mutex("R5", High, Torn, m, "both use %s%s", m.x.Resource, cure)
}

func waits(t *Task) bool {
	switch v := t.Args["lock_timeout"].(type) {
	case int:
		return v > 0
	case float64:
		return v > 0
	}
	return false
}

// kubernetes is R6 (one object), R6b (a namespace and what is in it) and R14 (an admission controller).
func (a *Analysis) kubernetes(m meeting) {
	at := func(r Resource) (context, namespace, kind, name string) {
		context, rest, _ := strings.Cut(r.Name, ":")
		parts := strings.SplitN(rest, "/", 3)
		if len(parts) < 3 {
			return context, "", "", ""
		}
		return context, parts[0], parts[1], parts[2]
	}
	cx, _, kx, nx := at(m.x.Resource)
	cy, ny, ky, _ := at(m.y.Resource)
	if cx != cy || m.x.Verb == Read {
		return
	}
	switch {
	case m.x.Resource == m.y.Resource && m.y.Verb == Read:
		a.order("R6", High, need(m.y), m, "%s makes %s, which %s reads", m.a, m.x.Resource, m.b)
	case m.x.Resource == m.y.Resource && m.a < m.b:
		a.mutex("R6", High, Torn, m, "both write %s", m.x.Resource)
	case kx == "Namespace" && nx == ny && m.x.Resource != m.y.Resource && ky != "Namespace":
		a.order("R6b", High, need(m.y), m, "%s makes the namespace %s, in which %s makes %s", m.a, nx, m.b, m.y.Resource)
	case strings.HasSuffix(kx, "WebhookConfiguration") && !strings.HasSuffix(ky, "WebhookConfiguration"):
		a.order("R14", Low, Bootstrap, m, "%s sets up an admission controller that may have to accept %s of %s", m.a, m.y.Resource, m.b)
	}
}

// accounts is R7.
func (a *Analysis) accounts(m meeting) {
	if m.x.Resource == m.y.Resource && m.a < m.b {
		a.mutex("R7", Low, Torn, m, "both manage %s", m.x.Resource)
	}
}

// endpoints is R11: y talks to what x serves.
func (a *Analysis) endpoints(m meeting) {
	if m.x.Verb != Serve || m.y.Verb != Contact || m.x.Name != m.y.Name {
		return
	}
	host, conf := a.follow(m.y.Host, m.y.Name)
	if host == "" || host != m.x.Host || a.servesItself(m.b, m.x.Resource) {
		return
	}
	a.order("R11", certain(conf, m.x, m.y), need(m.y), m, "%s serves %s:%s, which %s talks to", m.a, m.x.Host, m.x.Name, m.b)
}

func (a *Analysis) servesItself(job string, r Resource) bool {
	return slices.ContainsFunc(a.access[job], func(x Access) bool { return x.Resource == r && x.Verb == Serve })
}

// zones is R15: a certificate is given for names that must be in a zone.
func (a *Analysis) zones(m meeting) {
	if writes(m.x.Verb) && m.y.Verb == Use && (m.x.Name == m.y.Name || m.y.Name == "*") {
		conf := Medium
		if m.y.Name == "*" {
			conf = Low
		}
		a.order("R15", conf, need(m.y), m, "%s writes the zone %s, which a certificate of %s needs", m.a, m.x.Name, m.b)
	}
}

// samePlaybook is R8.
func (a *Analysis) samePlaybook() {
	for i, j := range a.Jobs {
		for _, k := range a.Jobs[i+1:] {
			for _, p := range j.Playbooks {
				if slices.Contains(k.Playbooks, p) {
					a.Edges = append(a.Edges, Edge{Kind: Mutex, First: min(j.Name, k.Name), Then: max(j.Name, k.Name), Rule: "R8", Confidence: High, Severity: Torn,
						Resource: Resource{Kind: "playbook", Name: p}, Text: "both run " + p, At: [2]Place{j.At, k.At}})
				}
			}
		}
	}
}

// external is R13: two jobs that use the same role from elsewhere conflict, until it is read.
func (a *Analysis) external() {
	for i, j := range a.Jobs {
		for _, k := range a.Jobs[i+1:] {
			for _, role := range j.External {
				if slices.Contains(k.External, role) {
					a.Edges = append(a.Edges, Edge{Kind: Mutex, First: min(j.Name, k.Name), Then: max(j.Name, k.Name), Rule: "R13", Confidence: Low, Severity: Torn,
						Resource: Resource{Kind: "role", Name: role}, Text: "both use the role " + role + ", which is not in the repository", At: [2]Place{j.At, k.At}})
				}
			}
		}
	}
}

// apiModules only talk to a service, from wherever they run.
var apiModules = map[string]bool{"uri": true, "debug": true, "set_fact": true, "assert": true, "pause": true, "include_vars": true}

// byNaming is R12: a job that only calls an API may configure what a job with the same group sets up.
func (a *Analysis) byNaming() {
	for i := range a.Jobs {
		api := &a.Jobs[i]
		if len(api.Tasks) == 0 || slices.ContainsFunc(api.Tasks, func(t Task) bool { return !apiModules[t.Module] }) {
			continue
		}
		for k := range a.Jobs {
			other := &a.Jobs[k]
			if other == api || !shareRole(api, other) {
				continue
			}
			a.Edges = append(a.Edges, Edge{Kind: Order, First: other.Name, Then: api.Name, Rule: "R12", Confidence: Low, Severity: Freshness,
				Text: fmt.Sprintf("%s only calls an API, and has a role in common with %s: perhaps it configures what that sets up", api.Name, other.Name),
				At:   [2]Place{other.At, api.At}})
		}
	}
}

func shareRole(x, y *Job) bool {
	for _, s := range x.Tasks {
		if s.Role != "" && slices.ContainsFunc(y.Tasks, func(t Task) bool { return t.Role == s.Role }) {
			return true
		}
	}
	return false
}

// secrets is R10: a job that looks up secrets while another may restart their store.
func (a *Analysis) secrets() {
	for _, j := range a.Jobs {
		at := -1
		for i, t := range j.Tasks {
			if slices.ContainsFunc(t.Lookups, func(l string) bool { return strings.Contains(l, "vault") }) {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		for _, k := range a.Jobs {
			for _, x := range a.access[k.Name] {
				if k.Name != j.Name && (x.Verb == Restart || x.Verb == Write) && x.Kind == Service && strings.Contains(x.Name, "vault") {
					a.mutex("R10", Low, Outage, meeting{a: j.Name, b: k.Name, x: Access{Task: &j.Tasks[at], Resource: x.Resource}, y: x},
						"%s looks up secrets while %s may restart %s", j.Name, k.Name, x.Resource)
				}
			}
		}
	}
}

// reasons are the edges that people wrote down.
func (a *Analysis) reasons() {
	for _, r := range a.Settings.Reasons {
		a.Edges = append(a.Edges, Edge{Kind: Order, First: a.full(r.After), Then: a.full(r.Job), Rule: "stated", Confidence: High, Severity: Bootstrap,
			Text: r.Reason, At: [2]Place{r.At, r.At}})
	}
}

// full finds the job that a name means: itself, or the only one whose name ends with it.
func (a *Analysis) full(name string) string {
	if a.Job(name) != nil {
		return name
	}
	var found []string
	for _, j := range a.Jobs {
		if strings.HasSuffix(j.Name, "-"+name) {
			found = append(found, j.Name)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return name
}

func (a *Analysis) order(rule string, c Confidence, s Severity, m meeting, format string, args ...any) {
	a.Edges = append(a.Edges, Edge{Kind: Order, First: m.a, Then: m.b, Rule: rule, Confidence: c, Severity: s,
		Resource: m.x.Resource, Text: fmt.Sprintf(format, args...), At: [2]Place{m.x.Task.At, m.y.Task.At}})
}

func (a *Analysis) mutex(rule string, c Confidence, s Severity, m meeting, format string, args ...any) {
	first, then := m.a, m.b
	at := [2]Place{m.x.Task.At, m.y.Task.At}
	if then < first {
		first, then, at[0], at[1] = then, first, at[1], at[0]
	}
	a.Edges = append(a.Edges, Edge{Kind: Mutex, First: first, Then: then, Rule: rule, Confidence: c, Severity: s,
		Resource: m.x.Resource, Text: fmt.Sprintf(format, args...), At: at})
}

// strongest keeps one edge of each rule and resource between two jobs: the surest.
func strongest(edges []Edge) []Edge {
	type key struct {
		kind        EdgeKind
		first, then string
		rule        string
		resource    Resource
	}
	slices.SortStableFunc(edges, func(a, b Edge) int {
		return cmp.Compare(slices.Index(confidences, a.Confidence), slices.Index(confidences, b.Confidence))
	})
	seen := map[key]bool{}
	return slices.DeleteFunc(edges, func(e Edge) bool {
		k := key{e.Kind, e.First, e.Then, e.Rule, e.Resource}
		if seen[k] {
			return true
		}
		seen[k] = true
		return false
	})
}
