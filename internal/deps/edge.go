package deps

import (
	"cmp"
	"fmt"
	"slices"
)

// EdgeKind is order or mutex.
type EdgeKind string

// The kinds of edges.
const (
	Order EdgeKind = "order"
	Mutex EdgeKind = "mutex"
)

// Confidence says how sure an edge is. High and medium are enforced, low is shown.
type Confidence string

// The confidences.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
)

// Severity says what is lost where an edge is missing.
type Severity string

// The severities, worst first. Bootstrap: it fails on a new system. Outage: what a job talks to is
// restarted. Torn: it reads while another writes. Freshness: yesterday's value is used until the next
// run. Info: nothing. Blind: what was not read, so that nothing is known of it.
const (
	Bootstrap Severity = "bootstrap"
	Outage    Severity = "outage"
	Torn      Severity = "torn"
	Freshness Severity = "freshness"
	Info      Severity = "info"
	Blind     Severity = "blind"
)

var severities = []Severity{Blind, Bootstrap, Outage, Torn, Freshness, Info}
var confidences = []Confidence{High, Medium, Low}

// Edge is an edge between two jobs. Of an order edge First runs before Then; of a mutex, First is the
// name that sorts first.
type Edge struct {
	Kind       EdgeKind   `json:"kind"`
	First      string     `json:"first"`
	Then       string     `json:"then"`
	Rule       string     `json:"rule"`
	Confidence Confidence `json:"confidence"`
	Severity   Severity   `json:"severity"`
	Resource   Resource   `json:"resource"`
	// Text says it in words; At has the places on the side of First and of Then.
	Text string   `json:"text"`
	At   [2]Place `json:"at"`
	// Hosts are all hosts on which it holds; Resource has the first.
	Hosts []string `json:"hosts,omitempty"`
	// By is the job that does the harm, where a mutex has one: the one that reboots.
	By string `json:"by,omitempty"`
}

// Enforced: the edge is sure enough to be acted on.
func (e Edge) Enforced() bool { return e.Confidence != Low }

// String is one line: who, why, and where on both sides.
func (e Edge) String() string {
	return fmt.Sprintf("%s %s: %s (%s; %s)", e.Rule, e.Confidence, e.Text, e.At[0], e.At[1])
}

// compareEdges puts the surest and worst first, then by name, so that output is stable.
func compareEdges(a, b Edge) int {
	if n := cmp.Or(
		cmp.Compare(slices.Index(confidences, a.Confidence), slices.Index(confidences, b.Confidence)),
		cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
		cmp.Compare(a.First, b.First), cmp.Compare(a.Then, b.Then), cmp.Compare(a.Rule, b.Rule),
	); n != 0 {
		return n // there are many, and few for which their texts are needed
	}
	if a.Resource != b.Resource {
		return cmp.Compare(a.Resource.String(), b.Resource.String())
	}
	return cmp.Compare(a.At[0].String()+a.At[1].String(), b.At[0].String()+b.At[1].String())
}

// Analysis is a repository with what follows from it.
type Analysis struct {
	*Repo
	table *Table
	// access has what each job does, by name.
	access map[string][]Access
	// Edges are the inferred edges between all pairs of jobs, surest first. A pair may have many.
	Edges []Edge
	// Unknown says of jobs what is not known of them.
	Unknown []Problem
	// between has the edges of each pair of jobs, by names in order; made what each job writes or makes by itself.
	between map[[2]string][]int
	made    map[string]map[Resource]bool
	// written has what each job writes itself: files, and directories whose content is its own.
	written map[string]map[Resource]bool
	// names says which host a name leads to.
	names map[string]string
	// arounds are what jobs do to the same through the playbook that runs theirs.
	arounds map[Resource]*around
	// outer has the jobs that share each task of such playbooks.
	outer map[Place][]string
	// inputsOf keeps what inputs found.
	inputsOf map[string]map[string]string
}

// Analyse infers the edges of a repository.
func Analyse(r *Repo) (*Analysis, error) {
	table, err := NewTable(r.Settings)
	if err != nil {
		return nil, err
	}
	a := &Analysis{Repo: r, table: table, access: map[string][]Access{}, names: map[string]string{}}
	for name, host := range r.Settings.Names {
		a.names[name] = host
	}
	for i := range r.Jobs {
		j := &r.Jobs[i]
		a.access[j.Name] = a.accesses(j)
		a.unknown(j)
	}
	a.infer()
	slices.SortStableFunc(a.Edges, compareEdges)
	return a, nil
}

// unknown notes what is not known of a job: modules that no table has, arguments that name a resource
// but could not be rendered, roles from elsewhere.
func (a *Analysis) unknown(j *Job) {
	if j.Private {
		return
	}
	if j.Elsewhere != "" {
		a.Unknown = append(a.Unknown, Problem{Job: j.Name, At: j.At, Text: j.Elsewhere})
		return
	}
	seen := map[string]bool{}
	for i := range j.Tasks {
		t := &j.Tasks[i]
		note := func(at Place, text string) {
			p := Problem{Job: j.Name, At: at, Text: text}
			if t.Outer {
				p.Job = "" // of the playbook that many share: said once
			}
			if !seen[text] && !slices.Contains(a.Unknown, p) {
				seen[text] = true
				a.Unknown = append(a.Unknown, p)
			}
		}
		if !a.table.Knows(t.Module) {
			note(t.At, "what module "+t.Module+" touches is not known; say it in gozer.yaml")
		}
		if _, ok := t.Delegate.(map[string]any); ok {
			note(t.At, "the host that a task is delegated to is not known")
		}
		if hosts, ok := (&builder{Analysis: a, job: j}).where(t); ok && len(hosts) == 0 {
			continue // it works where nobody else does
		}
		for _, r := range a.table.modules[a.table.name(t.Module)] {
			for _, name := range r.Name {
				if m, ok := t.Args[name].(map[string]any); ok && m["unknown"] != nil && r.applies(t.Args) {
					note(t.At, fmt.Sprintf("%s of %s is not known: %v", name, t.Module, m["unknown"]))
					break
				}
			}
		}
	}
}

// Between are the edges between two jobs, in either direction, surest first.
func (a *Analysis) Between(x, y string) []Edge {
	if a.between == nil {
		a.between = map[[2]string][]int{}
		for i, e := range a.Edges {
			k := [2]string{min(e.First, e.Then), max(e.First, e.Then)}
			a.between[k] = append(a.between[k], i)
		}
	}
	var out []Edge
	for _, i := range a.between[[2]string{min(x, y), max(x, y)}] {
		out = append(out, a.Edges[i])
	}
	return out
}

// Accesses are what the tasks of a job do with resources, in the order of the tasks.
func (a *Analysis) Accesses(job string) []Access { return a.access[job] }
