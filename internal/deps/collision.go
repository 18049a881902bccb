package deps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// collisions are mutexes that the pipeline does not keep: neither by order nor by a semaphore for one. Those at the
// package manager, or the firewall, of the same hosts are one finding for all their jobs; but for what is waived.
func (a *Analysis) collisions(p *Pipeline, today string) []Finding {
	var out, locks, reboots []Finding
	for _, f := range a.colliding(p) {
		if f.Rule == "R5" && a.waiver(f, today) == nil {
			locks = append(locks, f)
		} else if f.Rule == "R16" && a.waiver(f, today) == nil {
			reboots = append(reboots, f)
		} else {
			out = append(out, f)
		}
	}
	return slices.Concat(out, a.byHosts(p, locks), a.outagesOf(p, reboots))
}

// colliding has one finding for each pair.
func (a *Analysis) colliding(p *Pipeline) []Finding {
	var out []Finding
	for _, pair := range a.pairs(p, Mutex) {
		e := pair[0]
		if a.apart(p, e.First, e.Then) {
			continue
		}
		out = append(out, Finding{Rule: e.Rule, Level: levelOf(e), Severity: e.Severity, Confidence: e.Confidence, Pipelines: []string{p.Name},
			Jobs: []string{e.First, e.Then}, At: e.At[0], Also: []Place{e.At[1]}, Edges: pair,
			Text: fmt.Sprintf("%s and %s may run at once: %s", e.First, e.Then, e.Text),
			Fix:  fmt.Sprintf("give both a semaphore for one, say %s", mutexName(e.Resource))})
	}
	return out
}

// byHosts makes one finding of the pairs that need the same lock on the same hosts with the same confidence.
func (a *Analysis) byHosts(p *Pipeline, pairs []Finding) []Finding {
	type lock struct {
		kind       string
		confidence Confidence
	}
	// The pairs that meet on each host; then the hosts at which the same pairs meet.
	on := map[lock]map[string][]int{}
	for i, f := range pairs {
		e := f.Edges[0]
		k := lock{e.Resource.Kind, e.Confidence}
		if on[k] == nil {
			on[k] = map[string][]int{}
		}
		for _, h := range e.Hosts {
			on[k][h] = append(on[k][h], i)
		}
	}
	var out []Finding
	for k, hosts := range on {
		groups := map[string][]string{}
		for _, h := range keys(hosts) {
			id := fmt.Sprint(hosts[h])
			groups[id] = append(groups[id], h)
		}
		for _, id := range keys(groups) {
			var members []Finding
			for _, i := range hosts[groups[id][0]] {
				members = append(members, pairs[i])
			}
			out = append(out, a.lockFinding(p, k.kind, groups[id], members))
		}
	}
	return out
}

func (a *Analysis) lockFinding(p *Pipeline, kind string, hosts []string, pairs []Finding) Finding {
	if len(pairs) == 1 {
		return pairs[0]
	}
	f := pairs[0]
	f.Jobs, f.Also, f.Edges = nil, nil, nil
	for _, m := range p.Members {
		if slices.ContainsFunc(pairs, func(o Finding) bool { return slices.Contains(o.Jobs, m.Job) }) {
			f.Jobs = append(f.Jobs, m.Job)
		}
	}
	for _, o := range pairs {
		f.Edges = append(f.Edges, o.Edges[0])
		for _, at := range append([]Place{o.At}, o.Also...) {
			if at != f.At && !slices.Contains(f.Also, at) {
				f.Also = append(f.Also, at)
			}
		}
	}
	f.Text = fmt.Sprintf("%d jobs use the %s of %s, and %d pairs of them may run at once: %s", len(f.Jobs), strings.ReplaceAll(kind, "-", " "), a.hostsText(hosts), len(pairs), list(f.Jobs))
	f.Fix = fmt.Sprintf("give them a semaphore for one, say %s", mutexName(Resource{Kind: kind, Host: cmp.Or(a.group(hosts), hosts[0])}))
	if kind == PackageManager {
		f.Text += waiting
		f.Fix = "raise lock_timeout on the tasks, so that they wait by themselves; or " + f.Fix
	}
	return f
}

// waiting says what becomes of tasks that find the package manager taken.
const waiting = "; a task that finds it taken waits as long as its lock_timeout says (apt 60 s, dnf 30 s), and fails then"

func (a *Analysis) hostsText(hosts []string) string {
	if len(hosts) == 1 {
		return hosts[0]
	}
	if g := a.group(hosts); g != "" {
		return fmt.Sprintf("the %d hosts of %s", len(hosts), g)
	}
	if len(hosts) == 2 {
		return list(hosts)
	}
	return fmt.Sprintf("%s and %d more hosts", hosts[0], len(hosts)-1)
}

// group is the group that has just these hosts; the first by name of several, empty where there is none.
func (a *Analysis) group(hosts []string) string {
	members := map[string][]string{}
	for _, h := range keys(a.Hosts) {
		for _, g := range a.Hosts[h] {
			members[g] = append(members[g], h)
		}
	}
	for _, g := range keys(members) {
		if g != "all" && g != "ungrouped" && slices.Equal(members[g], hosts) {
			return g
		}
	}
	return ""
}

func (a *Analysis) share(x, y *Member) bool {
	for _, s := range x.Semaphores {
		if slices.Contains(y.Semaphores, s) && max(1, a.Semaphores[s]) == 1 {
			return true
		}
	}
	return false
}

// mutexName makes a name for a semaphore of a resource.
func mutexName(r Resource) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '-'
	}, strings.ToLower(r.Host+"-"+r.Kind+"-"+r.Name)), "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return name
}
