package deps

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// matchers is L1 (matches nothing; one finding for all jobs that inherit it), L2 (content that no matcher
// covers) and L3 (matches only what the job never reads).
func (a *Analysis) matchers() []Finding {
	type written struct {
		at      Place
		pattern string
	}
	dead := map[written]int{}
	common := a.commonly()
	var out []Finding
	for i := range a.Jobs {
		j := &a.Jobs[i]
		inputs := map[string]string{}
		if len(j.Matchers) > 0 {
			inputs = a.inputs(j)
		}
		for _, m := range j.Matchers {
			matched, useful := a.matched(m, inputs, j.Around)
			switch {
			case matched == 0:
				w := written{m.At, m.Pattern}
				n, ok := dead[w]
				if !ok {
					n = len(out)
					dead[w] = n
					level, severity := LevelWarning, Freshness
					if m.Irrelevant {
						level, severity = LevelNote, Info // it only does nothing
					}
					out = append(out, Finding{Rule: "L1", Level: level, Severity: severity, Confidence: High, At: m.At, Fix: a.instead(m)})
				}
				out[n].Jobs = append(out[n].Jobs, j.Name)
				out[n].Text = fmt.Sprintf("the matcher %s of %s matches no file", m.Pattern, list(out[n].Jobs))
			case useful == 0 && !m.Irrelevant && !j.Partial && len(j.Tasks) > 0 && !a.configures(j, m):
				out = append(out, Finding{Rule: "L3", Level: LevelNote, Severity: Info, Confidence: Medium, Jobs: []string{j.Name}, At: m.At,
					Text: fmt.Sprintf("the matcher %s of %s matches %s, none of which the job reads", m.Pattern, j.Name, count(matched, "file")), Fix: "remove it"})
			case wide*useful <= matched && matched >= 2*wide && !m.Irrelevant && !j.Partial && len(j.Tasks) > 0:
				out = append(out, Finding{Rule: "L3", Level: LevelNote, Severity: Info, Confidence: Medium, Jobs: []string{j.Name}, At: m.At,
					Text: fmt.Sprintf("the matcher %s of %s matches %d files, of which the job reads %d: it runs for nothing most of the time", m.Pattern, j.Name, matched, useful),
					Fix:  "name what it reads: gozer deps triggers --suggest"})
			}
		}
		if len(j.Matchers) > 0 && !j.Private {
			out = append(out, a.uncovered(j, inputs, common)...)
		}
	}
	return slices.Concat(out, a.lackedByMany(common), a.unlisted())
}

// wide is how many files a matcher matches for each that is read before it is too wide.
const wide = 5

// instead says what a matcher that matches nothing may have meant: a file or folder whose name is nearly so.
func (a *Analysis) instead(m Matcher) string {
	meant := strings.TrimSuffix(strings.ReplaceAll(strings.Trim(m.Pattern, "^$"), `\.`, "."), "/")
	if meant == "" || strings.ContainsAny(meant, `\*()[]|?+`) {
		return "correct or remove it"
	}
	best, least := "", 3
	seen := map[string]bool{}
	for _, f := range a.Files {
		for name := f; name != "."; name = path.Dir(name) {
			if seen[name] {
				break
			}
			seen[name] = true
			if d := distance(name, meant, least); d < least {
				best, least = name, d
			}
		}
	}
	if best == "" {
		return "correct or remove it"
	}
	return "correct it: there is " + best
}

// distance is how many letters it takes to make one name of another; most where it is that many or more.
func distance(x, y string, most int) int {
	if len(x)-len(y) >= most || len(y)-len(x) >= most {
		return most
	}
	row := make([]int, len(y)+1)
	for k := range row {
		row[k] = k
	}
	for i := range len(x) {
		left := row[0]
		row[0] = i + 1
		for k := range len(y) {
			change := left
			if x[i] != y[k] {
				change++
			}
			left = row[k+1]
			row[k+1] = min(change, row[k]+1, row[k+1]+1)
		}
	}
	return min(row[len(y)], most)
}

// matched counts the files that a matcher matches, and those of them that are inputs.
func (a *Analysis) matched(m Matcher, inputs, around map[string]string) (matched, useful int) {
	for _, f := range a.Files {
		if m.Match(f) {
			matched++
			_, ok := inputs[f]
			if _, too := around[f]; ok || too {
				useful++
			}
		}
	}
	return matched, useful
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// configures reports whether a matcher is there for the configuration of the job itself.
func (a *Analysis) configures(j *Job, m Matcher) bool {
	return m.Match(j.At.File) || slices.ContainsFunc(a.Files, func(f string) bool {
		return m.Match(f) && (strings.HasPrefix(f, "zuul.d/") || strings.HasPrefix(f, ".zuul") || f == "zuul.yaml")
	})
}

// uncovered is L2: one finding a job, with all files that no matcher covers.
func (a *Analysis) uncovered(j *Job, inputs map[string]string, common map[string][]string) []Finding {
	var texts, add []string
	var also []Place
	for _, f := range keys(inputs) {
		if common[f] != nil || !a.lacks(j, f, inputs[f]) {
			continue
		}
		texts = append(texts, fmt.Sprintf("%s (%s)", f, inputs[f]))
		add = append(add, pattern(f))
		also = append(also, Place{File: f})
	}
	out := a.leftOut(j, inputs)
	if len(texts) == 0 {
		return out
	}
	if len(texts) > most+1 {
		texts = append(texts[:most], fmt.Sprintf("%d more files", len(texts)-most))
		add = []string{"what gozer deps triggers --suggest says"}
	}
	return append(out, Finding{Rule: "L2", Level: LevelWarning, Severity: Freshness, Confidence: High, Jobs: []string{j.Name}, At: j.Matchers[len(j.Matchers)-1].At, Also: also,
		Text: fmt.Sprintf("%s uses %s, but no matcher of it covers that", j.Name, list(texts)),
		Fix:  "add " + strings.Join(add, ", ") + " to files"})
}

// lacks reports whether a change of an input does not trigger a job, and no irrelevant-files is why.
func (a *Analysis) lacks(j *Job, f, why string) bool {
	return !slices.Contains(a.Inventory, f) && why != "named" && !j.Triggered([]string{f}) && j.excluded(f) == nil
}

// many is how many jobs must lack a matcher for a file before that is one finding for all of them.
const many = 4

// commonly has the files that many jobs use and no matcher of theirs covers, with the jobs.
func (a *Analysis) commonly() map[string][]string {
	out := map[string][]string{}
	for i := range a.Jobs {
		j := &a.Jobs[i]
		if len(j.Matchers) == 0 || j.Private {
			continue
		}
		for f, why := range a.cachedInputs(j) {
			if a.lacks(j, f, why) {
				out[f] = append(out[f], j.Name)
			}
		}
	}
	for f, jobs := range out {
		if len(jobs) < many {
			delete(out, f)
		}
	}
	return out
}

// lackedByMany is L2 for such files: one finding for those that the same jobs lack.
func (a *Analysis) lackedByMany(common map[string][]string) []Finding {
	var out []Finding
	by := map[string]int{}
	files := map[int][]string{}
	for _, f := range keys(common) {
		id := strings.Join(common[f], " ")
		i, ok := by[id]
		if !ok {
			i = len(out)
			by[id] = i
			matchers := a.Job(common[f][0]).Matchers
			out = append(out, Finding{Rule: "L2", Level: LevelWarning, Severity: Freshness, Confidence: High, Jobs: common[f], At: matchers[len(matchers)-1].At})
		}
		files[i] = append(files[i], f)
		out[i].Also = append(out[i].Also, Place{File: f})
	}
	for i := range out {
		f := &out[i]
		names := files[i]
		if len(names) > most+1 {
			names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more files", len(names)-most))
		}
		f.Text = fmt.Sprintf("%d jobs use %s, but no matcher of theirs covers that: %s", len(f.Jobs), list(names), list(f.Jobs))
		f.Fix = "add it to files, best in a parent that they share; gozer deps triggers --suggest says what each needs"
	}
	return out
}

// excluded is the irrelevant-files that leaves a file out although files has it, or there is no files.
func (j *Job) excluded(file string) *Matcher {
	positive, wanted := false, false
	var by *Matcher
	for i := range j.Matchers {
		m := &j.Matchers[i]
		switch {
		case !m.Irrelevant:
			positive = true
			wanted = wanted || m.Match(file)
		case m.Match(file):
			by = m
		}
	}
	if positive && !wanted {
		return nil
	}
	return by
}

// leftOut is L2 for files that irrelevant-files leaves out.
func (a *Analysis) leftOut(j *Job, inputs map[string]string) []Finding {
	var out []Finding
	for _, f := range keys(inputs) {
		by := j.excluded(f)
		if by == nil || slices.Contains(a.Inventory, f) || inputs[f] == "named" {
			continue
		}
		out = append(out, Finding{Rule: "L2", Level: LevelWarning, Severity: Freshness, Confidence: High, Jobs: []string{j.Name}, At: by.At, Also: []Place{{File: f}},
			Text: fmt.Sprintf("%s uses %s (%s), but the irrelevant-files %s leaves it out: a change of it alone does not run the job", j.Name, f, inputs[f], by.Pattern),
			Fix:  "take it out of irrelevant-files; where that is inherited, set irrelevant-files: [] on the job"})
	}
	return out
}

// most is how many files a finding names.
const most = 4

// unlisted is L2 for the inventory, which all jobs read: that a job is not triggered by it is often meant, so that it is
// one finding for all.
func (a *Analysis) unlisted() []Finding {
	var jobs []string
	var files []string
	at := Place{}
	for i := range a.Jobs {
		j := &a.Jobs[i]
		if len(j.Matchers) == 0 || j.Private {
			continue
		}
		lacks := false
		for _, f := range a.Inventory {
			if !j.Triggered([]string{f}) {
				lacks = true
				if !slices.Contains(files, f) {
					files = append(files, f)
				}
			}
		}
		if lacks {
			jobs = append(jobs, j.Name)
			at = cmp.Or(at, j.Matchers[len(j.Matchers)-1].At)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	who, them := jobs[0]+" is", "it"
	if len(jobs) > 1 {
		who, them = fmt.Sprintf("%d jobs are", len(jobs)), "them"
	}
	return []Finding{{Rule: "L2", Level: LevelNote, Severity: Freshness, Confidence: Medium, Jobs: jobs, At: at,
		Text: fmt.Sprintf("%s not triggered by a change of the inventory (%s), which says on which hosts %s: %s", who, list(files), map[bool]string{true: "they work", false: "it works"}[len(jobs) > 1], list(jobs)),
		Fix:  "add it to files, where " + them + " should run when hosts come and go"}}
}
