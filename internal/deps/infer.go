package deps

import (
	"cmp"
	"fmt"
	neturl "net/url"
	"path"
	"slices"
	"strings"
)

// meeting is two jobs' accesses that a rule looks at.
type meeting struct {
	a, b string
	x, y Access
}

// hit is a job's access.
type hit struct {
	job string
	Access
}

// infer applies all rules to all pairs of jobs that meet at a resource.
func (a *Analysis) infer() {
	met := map[Resource][]hit{}
	trees := map[Resource][]hit{}
	var reads, objects, zones []hit
	a.written, a.made = map[string]map[Resource]bool{}, map[string]map[Resource]bool{}
	for _, j := range a.Jobs {
		a.written[j.Name], a.made[j.Name] = map[Resource]bool{}, map[Resource]bool{}
		for _, x := range a.access[j.Name] {
			h := hit{j.Name, x}
			if x.Verb == Write || x.Verb == Make {
				a.made[j.Name][x.Resource] = true
			}
			switch x.Verb {
			case Write, Edit, Fill, Tree, Make, Serve:
				a.written[j.Name][x.Resource] = true
			}
			switch {
			case x.Kind == DNS:
				zones = append(zones, h)
				continue
			case x.Kind == Kubernetes:
				objects = append(objects, h)
			case x.Kind == File && (x.Verb == Fill || x.Verb == Tree || x.Verb == Make):
				trees[x.Resource] = append(trees[x.Resource], h)
			case x.Kind == File:
				reads = append(reads, h)
			}
			met[x.Resource] = append(met[x.Resource], h)
		}
	}
	a.directories(met)
	for _, hits := range met {
		pairs(hits, hits, a.meet)
	}
	for _, hits := range trees {
		pairs(hits, hits, a.bothManage)
	}
	for _, h := range reads {
		if writes(h.Verb) {
			for dir := path.Dir(h.Name); !shared(dir); dir = path.Dir(dir) {
				pairs([]hit{h}, met[Resource{File, h.Host, dir}], a.folder)
			}
		}
		dir := path.Dir(h.Name)
		if h.Verb == Read {
			dir = h.Name // who reads a folder reads what is below it
		}
		for ; !shared(dir); dir = path.Dir(dir) {
			if found := trees[Resource{File, h.Host, dir}]; len(found) > 0 {
				pairs(found, []hit{h}, a.tree)
			}
		}
	}
	pairs(objects, objects, a.kubernetes)
	pairs(zones, zones, a.zones)
	a.endpoints()
	a.samePlaybook()
	a.external()
	a.byNaming()
	a.outages()
	a.machines()
	a.secrets()
	a.reasons()
	a.Edges = strongest(a.Edges)
	a.reconcile()
}

// pairs calls f for each two accesses of different jobs.
func pairs(xs, ys []hit, f func(meeting)) {
	for _, x := range xs {
		for _, y := range ys {
			if x.job != y.job {
				f(meeting{a: x.job, b: y.job, x: x.Access, y: y.Access})
			}
		}
	}
}

// directories finds paths that are directories, though a task names them as the file that it writes: a
// copy to a directory writes below it. Where it is not known below what name, it says nothing.
func (a *Analysis) directories(met map[Resource][]hit) {
	is := map[Resource]bool{}
	for r, hits := range met {
		if r.Kind != File {
			continue
		}
		if generic[r.Name] || slices.ContainsFunc(hits, func(h hit) bool { return h.Verb == Make || h.Verb == Fill || h.Verb == Tree }) {
			is[r] = true
		}
		if dir := path.Dir(r.Name); dir != "/" && slices.ContainsFunc(hits, func(h hit) bool { return writes(h.Verb) }) {
			is[Resource{File, r.Host, dir}] = true
		}
	}
	for r := range is {
		kept := met[r]
		for i, h := range kept {
			if !writes(h.Verb) || h.Task == nil {
				continue
			}
			name := ""
			if len(h.Task.Sources) > 0 {
				name = strings.TrimSuffix(path.Base(h.Task.Sources[0]), ".j2")
			} else if src := lookup(h.Task.Args, "src"); len(src) == 1 {
				name = path.Base(src[0])
			} else if url := lookup(h.Task.Args, "url"); len(url) == 1 {
				name = path.Base(url[0])
			}
			kept[i].Verb = Make
			if name != "" && name != "." && name != path.Base(r.Name) {
				h.Resource.Name = path.Join(r.Name, name)
				met[h.Resource] = append(met[h.Resource], h)
			}
		}
	}
}

// meet applies the rules on pairs of accesses to one resource. It is called for both directions.
func (a *Analysis) meet(m meeting) {
	if a.sharedWrapper(m) {
		return
	}
	switch m.x.Kind {
	case File:
		a.files(m)
	case Service, Container:
		a.services(m)
	case PackageManager, Firewall:
		a.exclusive(m)
	case Account:
		a.accounts(m)
	case Vault, Cloud:
		a.remote(m)
	case Database:
		a.databases(m)
	case Image:
		a.pushed(m)
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
		if !x.Sure && best == High {
			best = Medium
		}
	}
	return best
}

// files is R1 (a file that one writes and the other reads) and R4 (both write it).
func (a *Analysis) files(m meeting) {
	x, y := m.x, m.y
	switch {
	case writes(x.Verb) && (y.Verb == Read || y.Verb == Test) && !a.also(m.b, y.Resource) && !absent(x.Task):
		a.reads(m, "%s writes %s, which %s reads")
	case writes(x.Verb) && writes(y.Verb) && m.a < m.b:
		a.bothWrite(m)
	}
}

// reads is an order edge: b reads what a leaves.
func (a *Analysis) reads(m meeting, format string) {
	x, y := m.x, m.y
	if x.Name == "/etc/hosts" && y.Detail != "" && !resolves(x, y.Detail) {
		return
	}
	severity := need(y)
	if y.Verb == Test || x.Verb == Edit {
		severity = Freshness
	}
	if y.Verb == Test {
		format = strings.ReplaceAll(format, "reads", "looks for")
	} else if y.Named {
		format = strings.ReplaceAll(format, "reads", "names")
	}
	conf := certain(High, x, y)
	if y.Named && laysUnit(y.Task) && !a.starts(m.b, y.Host) {
		// A unit names its program; nobody needs that before somebody starts it.
		severity, conf = Freshness, Low
	}
	if y.Task.Tolerant && y.Task.Handler {
		conf = Low
	}
	if severity == Freshness && conf == High && (y.Verb == Test || x.Verb == Edit) {
		// It may do without: the file is there without the line, or it only looks whether it is.
		conf = Medium
	}
	a.order(cmp.Or(y.Rule, "R1"), conf, severity, m, format, m.a, x.Resource, m.b)
}

func laysUnit(t *Task) bool {
	return slices.ContainsFunc(lookup(t.Args, "dest"), func(dest string) bool { return unitOf(dest) != "" })
}

// starts reports whether a job starts anything on a host, as far as can be seen: what its files name is read then.
func (a *Analysis) starts(job, host string) bool {
	return slices.ContainsFunc(a.access[job], func(x Access) bool {
		if x.Host != host {
			return false
		}
		switch x.Kind {
		case Service:
			return x.Verb == Restart || x.Verb == Use
		case Container:
			return x.Verb == Write
		}
		return false
	}) || slices.ContainsFunc(a.Job(job).Tasks, func(t Task) bool {
		switch a.table.name(t.Module) {
		case "command", "shell", "script", "raw":
			return slices.Contains(t.Hosts, host) || t.Delegate != nil
		}
		return !a.table.Knows(t.Module) && slices.Contains(t.Hosts, host)
	})
}

// startsThere reports whether a job starts anything on one of a task's hosts.
func (a *Analysis) startsThere(job string, t *Task) bool {
	b := &builder{Analysis: a, job: a.Job(job)}
	hosts, _ := b.where(t)
	return slices.ContainsFunc(hosts, func(h string) bool { return a.starts(job, h) })
}

// resolves reports whether what is written into /etc/hosts has the host of a URL.
func resolves(x Access, url string) bool {
	if u, err := neturl.Parse(url); err == nil && itself(u.Hostname()) {
		return false // that is known without the file
	}
	return slices.ContainsFunc(x.Task.Contents, func(c Content) bool {
		return slices.ContainsFunc(c.Names, func(n string) bool {
			return strings.Contains(url, "//"+n+":") || strings.Contains(url, "//"+n+"/") || strings.HasSuffix(url, "//"+n)
		})
	})
}

func absent(t *Task) bool {
	s, _ := t.Args["state"].(string)
	return s == "absent"
}

func (a *Analysis) bothWrite(m meeting) {
	x, y := m.x, m.y
	conf := certain(High, x, y)
	text := "both write %s"
	if x.Verb == Edit && y.Verb == Edit {
		// Each keeps what the other wrote, but for the moment between its reading and its writing.
		text = "both edit %s"
		if conf == High {
			conf = Medium
		}
	}
	switch {
	case same(x.Task, y.Task):
		conf, text = Low, "both write %s, and the same into it"
	case x.Task.At.File != "" && x.Task.At == y.Task.At && x.Verb == Write && !known(x.Task, y.Task):
		// The same task of a shared role, with content that is not known: probably the same.
		conf, text = Low, "both write %s by the same task"
	}
	a.mutex("R4", conf, Torn, m, text, x.Resource)
}

// known reports whether it is known what both tasks write.
func known(tasks ...*Task) bool {
	for _, t := range tasks {
		if len(t.Contents) == 0 || strings.Contains(asJSON(t.Args), `"unknown":`) {
			return false
		}
	}
	return true
}

// services is R3: x restarts what y owns, so y should be there first. Who only uses a service that the
// other owns comes after it (R9).
func (a *Analysis) services(m meeting) {
	x, y := m.x, m.y
	switch {
	case x.Verb == Write && y.Verb == Restart && !a.written[m.b][x.Resource]:
		a.order("R3", restarts(x, y), Outage, m, "%s restarts %s, which %s sets up", m.b, x.Resource, m.a)
	case x.Verb == Write && y.Verb == Use && !a.written[m.b][x.Resource]:
		conf := Medium
		if y.Task.Tolerant || y.Task.Handler {
			conf = Low // it does without, or acts only where something has changed that was there before
		}
		a.order("R9", conf, need(y), m, "%s sets up %s, which %s uses", m.a, x.Resource, m.b)
	case x.Verb == Write && y.Verb == Write && m.a < m.b && (!x.Weak || !y.Weak):
		conf := Medium
		if same(x.Task, y.Task) {
			conf = Low
		}
		a.mutex("R3", conf, Outage, m, "both set up %s", x.Resource)
	case x.Verb == Restart && y.Verb == Restart && m.a < m.b:
		a.mutex("R3", Low, Outage, m, "both restart %s", x.Resource)
	case x.Verb == Restart && y.Verb == Use && x.Name == "docker":
		a.mutex("R3", Medium, Outage, m, "%s restarts %s, under which %s works", m.a, x.Resource, m.b)
	}
}

// restarts is how sure an owner and a restart are: a handler runs only when something has changed. A package that is
// called as the service is brings its unit, but may have been there.
func restarts(owner, restart Access) Confidence {
	if owner.Weak {
		if owner.Task.Guarded || restart.Weak || restart.Task.Guarded || restart.Task.Tolerant || restart.Task.Handler {
			return Low
		}
		return Medium
	}
	if restart.Task.Tolerant || restart.Task.Handler {
		return Medium
	}
	return certain(High, owner, restart)
}

// exclusive is R5: the package manager or the firewall of one host.
func (a *Analysis) exclusive(m meeting) {
	if m.a > m.b || m.x.Verb == Read || m.y.Verb == Read {
		return
	}
	x, y := m.x, m.y
	if x.Kind == Firewall {
		a.mutex("R5", certain(High, x, y), Torn, m, "both use %s", x.Resource)
		return
	}
	switch {
	case same(x.Task, y.Task):
		// Whoever comes second finds it installed.
		a.mutex("R5", Low, Torn, m, "both use %s, and for the same", x.Resource)
	case waits(x.Task) && waits(y.Task):
		// Both wait by themselves: nothing breaks, one only takes longer.
		a.mutex("R5", Low, Torn, m, "both use %s, and both wait for it by lock_timeout", x.Resource)
	default:
		// It waits for a while by itself: only where the other takes longer does it fail.
		a.mutex("R5", Medium, Torn, m, "both use %s%s", x.Resource, waiting)
	}
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

// databases is R1 for a database: whoever works in it comes after the one that makes it.
func (a *Analysis) databases(m meeting) {
	x, y := m.x, m.y
	if x.Verb != Write || absent(x.Task) || y.Verb == Write || slices.ContainsFunc(a.access[m.b], func(o Access) bool { return o.Verb == Write && o.Resource == y.Resource }) {
		return
	}
	text, conf, severity := "%s makes %s, which %s uses", certain(High, x, y), need(y)
	if y.Named {
		text = "%s makes %s, which %s names"
		if !a.startsThere(m.b, y.Task) {
			conf, severity = Low, Freshness // whoever starts what reads the file needs it
		}
	}
	a.order("R1", conf, severity, m, text, m.a, x.Resource, m.b)
}

// remote is R1 and R4 for secrets and objects of a cloud.
func (a *Analysis) remote(m meeting) {
	switch {
	case writes(m.x.Verb) && m.y.Verb == Read && !a.also(m.b, m.y.Resource):
		a.order("R1", certain(High, m.x, m.y), need(m.y), m, "%s writes %s, which %s reads", m.a, m.x.Resource, m.b)
	case writes(m.x.Verb) && writes(m.y.Verb) && m.a < m.b:
		conf := certain(High, m.x, m.y)
		if same(m.x.Task, m.y.Task) {
			conf = Low
		}
		a.mutex("R4", conf, Torn, m, "both write %s", m.x.Resource)
	}
}

// zones is R15: a certificate is given for names that must be in a zone.
func (a *Analysis) zones(m meeting) {
	if !writes(m.x.Verb) || m.y.Verb != Use {
		return
	}
	name, zone := strings.TrimPrefix(m.y.Name, "*."), strings.TrimSuffix(m.x.Name, ".")
	switch {
	case m.y.Name == "*":
		a.order("R15", Low, need(m.y), m, "%s writes the zone %s, which a certificate of %s may need", m.a, zone, m.b)
	case name == zone || strings.HasSuffix(name, "."+zone):
		if record := strings.TrimSuffix(m.x.Detail, "."); record != "" && record != name && record+"."+zone != name && !strings.Contains(record, "_acme-challenge") {
			return // of that zone it writes another record
		}
		if !a.written[m.b][m.x.Resource] {
			a.order("R15", Medium, need(m.y), m, "%s writes the zone %s, which a certificate of %s needs", m.a, zone, m.b)
		}
	}
}

func (a *Analysis) order(rule string, c Confidence, s Severity, m meeting, format string, args ...any) {
	a.Edges = append(a.Edges, Edge{Kind: Order, First: m.a, Then: m.b, Rule: rule, Confidence: c, Severity: s,
		Resource: m.x.Resource, Text: fmt.Sprintf(format, args...), At: [2]Place{m.x.Place(), m.y.Place()}})
}

func (a *Analysis) mutex(rule string, c Confidence, s Severity, m meeting, format string, args ...any) {
	first, then := m.a, m.b
	at := [2]Place{m.x.Place(), m.y.Place()}
	if then < first {
		first, then, at[0], at[1] = then, first, at[1], at[0]
	}
	a.Edges = append(a.Edges, Edge{Kind: Mutex, First: first, Then: then, Rule: rule, Confidence: c, Severity: s,
		Resource: m.x.Resource, Text: fmt.Sprintf(format, args...), At: at})
}
