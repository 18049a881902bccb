package deps

import (
	"regexp"
	"slices"
	"strings"
)

// Triggered reports whether a job's matchers want it for these files. A job without matchers is always
// wanted.
func (j *Job) Triggered(files []string) bool {
	var positive, negative []Matcher
	for _, m := range j.Matchers {
		if m.Irrelevant {
			negative = append(negative, m)
		} else {
			positive = append(positive, m)
		}
	}
	any := func(list []Matcher, f string) bool {
		return slices.ContainsFunc(list, func(m Matcher) bool { return m.Match(f) })
	}
	if len(positive) > 0 && !slices.ContainsFunc(files, func(f string) bool { return any(positive, f) }) {
		return false
	}
	return len(negative) == 0 || len(files) == 0 || slices.ContainsFunc(files, func(f string) bool { return !any(negative, f) })
}

// inputs are the files that a job's outcome depends on, and as what: what its content comes from, the
// inventory, and the files of variables of which it uses a key.
func (a *Analysis) inputs(j *Job) map[string]string {
	out := map[string]string{}
	for f, why := range j.Reads {
		if _, vars := a.Variables[f]; !vars || why == "vars_files" {
			out[f] = why
		}
	}
	for _, f := range a.Inventory {
		out[f] = "inventory"
	}
	for f := range a.Variables {
		if keys := a.usedKeys(j, f); len(keys) > 0 && a.applies(j, f) {
			out[f] = "defines " + list(keys)
		}
	}
	return out
}

// usedKeys are the keys of a file of variables that a job uses, directly or through other variables.
func (a *Analysis) usedKeys(j *Job, file string) []string {
	used := a.closure(j)
	var out []string
	for key := range a.Variables[file] {
		if used[key] {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// closure is every variable that a job uses, with those that their values use.
func (a *Analysis) closure(j *Job) map[string]bool {
	used := map[string]bool{}
	todo := slices.Clone(j.Uses)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if used[name] {
			continue
		}
		used[name] = true
		for f, keys := range a.Variables {
			if v, ok := keys[name]; ok && a.applies(j, f) {
				todo = append(todo, v.Uses...)
			}
		}
	}
	return used
}

// applies reports whether a file of variables counts for a job: it belongs to a role that the job runs,
// or to a group or host that one of its tasks runs on. Variables of other hosts count where hostvars is
// used.
func (a *Analysis) applies(j *Job, file string) bool {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		if i+1 >= len(parts) {
			break
		}
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(parts[i+1], ".yaml"), ".yml"), ".json")
		switch part {
		case "group_vars":
			return name == "all" || a.runsOn(j, func(h string) bool { return slices.Contains(a.Hosts[h], name) })
		case "host_vars":
			return a.runsOn(j, func(h string) bool { return h == name })
		}
	}
	// defaults and vars of a role were read with it.
	_, ok := j.Reads[file]
	return ok
}

func (a *Analysis) runsOn(j *Job, fits func(host string) bool) bool {
	if slices.Contains(j.Uses, "hostvars") {
		for h := range a.Hosts {
			if fits(h) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(j.Plays, func(p Play) bool { return !p.Outer && slices.ContainsFunc(p.Hosts, fits) })
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Suggest gives the matchers that cover exactly what a job reads: whole roles, and single files
// elsewhere.
func (a *Analysis) Suggest(job string) []string {
	j := a.Job(job)
	if j == nil {
		return nil
	}
	var out []string
	for f := range a.inputs(j) {
		p := pattern(f)
		if i := strings.Index(f, "roles/"); i >= 0 {
			if parts := strings.SplitN(f[i:], "/", 3); len(parts) == 3 {
				p = "^" + regexp.QuoteMeta(f[:i]+"roles/"+parts[1]+"/")
			}
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func pattern(f string) string { return "^" + regexp.QuoteMeta(f) + "$" }

// Commit is one commit of history: the files that it changed.
type Commit struct {
	ID      string
	Subject string
	Files   []string
}

// Run is one job that a commit triggered or should have.
type Run struct {
	Job       string `json:"job"`
	Triggered bool   `json:"triggered"`
	// Needed says why the job was needed; empty where nothing that it reads had changed.
	Needed string `json:"needed,omitempty"`
}

// Replay tells for a commit which deployment jobs of a pipeline it triggered, and which it needed.
// Set-up jobs are left out: they are needed with any other. The content is that of the checkout: what
// jobs read has changed over time, so that old commits are judged by today's content.
func (a *Analysis) Replay(p *Pipeline, c Commit) []Run {
	setup := a.Setup()
	var out []Run
	for _, m := range p.Members {
		j := a.Job(m.Job)
		if j == nil || slices.Contains(setup, j.Name) {
			continue
		}
		r := Run{Job: j.Name, Triggered: j.Triggered(c.Files)}
		inputs := a.cachedInputs(j)
		for _, f := range c.Files {
			if why, ok := inputs[f]; ok {
				r.Needed = f + ": " + why
				break
			}
		}
		if r.Triggered || r.Needed != "" {
			out = append(out, r)
		}
	}
	return out
}

func (a *Analysis) cachedInputs(j *Job) map[string]string {
	if a.inputsOf == nil {
		a.inputsOf = map[string]map[string]string{}
	}
	if a.inputsOf[j.Name] == nil {
		a.inputsOf[j.Name] = a.inputs(j)
	}
	return a.inputsOf[j.Name]
}
