package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// text is what a report says of one of the item's changes: semantics 2.8.
func (st *stepper) text(it *Item, c *change.Change, a Action) Text {
	var b strings.Builder
	b.WriteString(st.body(it, c, a))
	bs := it.Buildset
	if len(bs.Warnings) > 0 {
		b.WriteString("\nWarning:\n  " + strings.Join(bs.Warnings, "\n  ") + "\n")
	}
	if bs.Graph != nil && len(bs.Graph.Debug) > 0 && (a == ReportSuccess || a == ReportFailure) {
		b.WriteString("\nDebug information:\n  " + strings.Join(bs.Graph.Debug, "\n  ") + "\n")
	}
	msg := b.String()
	if f := st.s.Settings.Messages.Footer; f != "" && msg != "" {
		msg += "\n" + f
	}
	t := Text{Message: msg}
	if a != ReportEnqueue && a != ReportStart {
		st.comments(it, c, &t)
	}
	return t
}

func (st *stepper) body(it *Item, c *change.Change, a Action) string {
	m := &st.s.Settings.Messages
	switch a {
	case ReportEnqueue:
		return st.fill(m.Enqueue, it)
	case ReportStart:
		return st.fill(m.Start, it)
	case ReportNoJobs:
		return st.fill(m.NoJobs, it)
	case ReportDequeue:
		return st.withJobs(m.Dequeue, it, a)
	case ReportMergeConflict:
		return m.MergeConflict + "\n\n" + it.Buildset.Conflict + "\n"
	case ReportConfigError:
		return st.problems(it)
	case ReportSuccess:
		return st.withJobs(m.Success, it, a)
	}
	return st.failure(it, a)
}

// failure is the body of a failure report.
func (st *stepper) failure(it *Item, a Action) string {
	switch {
	case it.MissingRequirements:
		return "This change is unable to merge due to a missing merge requirement.\n"
	case it.Blocked != "":
		return it.Blocked
	case len(it.Changes) > 1:
		return st.cycleFailure(it)
	case it.Buildset.Graph == nil && len(it.Buildset.Warnings) > 0:
		return st.s.Settings.Messages.Failure + "\n"
	}
	return st.withJobs(st.s.Settings.Messages.Failure, it, a)
}

// cycleFailure tells that the cycle failed, and of which changes it is made.
func (st *stepper) cycleFailure(it *Item) string {
	var b strings.Builder
	b.WriteString("This change is part of a dependency cycle that failed.\n\n")
	b.WriteString(st.jobLines(it))
	b.WriteString("\nRelated changes:\n")
	for _, c := range st.changes(it) {
		b.WriteString("  - " + c.URL)
		if slices.ContainsFunc(it.Buildset.Problems, func(p Problem) bool { return p.Project == c.Project.Canonical() }) {
			b.WriteString(" (config error)")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// problems tells the configuration errors, all of them.
func (st *stepper) problems(it *Item) string {
	parts := make([]string, len(it.Buildset.Problems))
	for i, p := range it.Buildset.Problems {
		parts[i] = p.Text
	}
	return strings.Join(parts, "\n\n") + "\n"
}

// neededText names what an item lacks ahead of it.
func neededText(needed []*change.Change) string {
	var b strings.Builder
	b.WriteString("This change depends on a change that failed to merge.\n")
	for _, c := range needed {
		b.WriteString("\nChange " + c.URL + " is needed.")
	}
	return b.String() + "\n"
}

// withJobs is an introduction, the item's page, and a line a job.
func (st *stepper) withJobs(intro string, it *Item, a Action) string {
	s := intro
	if u := st.itemURL(it, a); u != "" {
		s += "\n" + u
	}
	return s + "\n\n" + st.jobLines(it)
}

// itemURL is the page of the item: its result, or where it stands now.
func (st *stepper) itemURL(it *Item, a Action) string {
	root := st.s.Tenant.WebRoot
	if root == "" {
		return ""
	}
	if a == ReportEnqueue || a == ReportStart {
		if c := st.s.Changes[it.Changes[0]]; c != nil && c.IsChange() {
			return root + "status/change/" + c.ID()
		}
		return root + "status"
	}
	return root + "buildset/" + string(it.Buildset.ID)
}

// fill puts the item's values into a message that is a format: {pipeline.name}, {item_url}, {change}...
func (st *stepper) fill(format string, it *Item) string {
	if format == "" {
		return ""
	}
	c := st.s.Changes[it.Changes[0]]
	id := ""
	if c != nil {
		id = c.ID()
	}
	url := st.itemURL(it, ReportStart)
	return strings.NewReplacer(
		"{pipeline.name}", st.s.Settings.Name, "{pipeline.description}", st.s.Settings.Description,
		"{item_url}", url, "{status_url}", url, "{change}", id, "{changes}", id, "{tenant.name}", st.s.Tenant.Name,
	).Replace(format)
}

// jobLines has a line for each job that is over; what child_jobs left out is only counted.
func (st *stepper) jobLines(it *Item) string {
	bs := it.Buildset
	if bs.Graph == nil {
		return ""
	}
	var b strings.Builder
	left := 0
	for _, j := range bs.Graph.Jobs {
		js := bs.Jobs[j.ID]
		switch {
		case js.ByChildJobs:
			left++
		case js.Build != nil:
			b.WriteString(st.jobLine(j, js.Build))
		}
	}
	if left == 1 {
		b.WriteString("Skipped 1 job\n")
	} else if left > 1 {
		fmt.Fprintf(&b, "Skipped %d jobs\n", left)
	}
	return b.String()
}

func (st *stepper) jobLine(j *job.Job, b *Build) string {
	result := string(b.Result)
	switch {
	case b.Result == Success && j.SuccessMessage != "":
		result = j.SuccessMessage
	case b.Result != Success && b.Result != Skipped && j.FailureMessage != "":
		result = j.FailureMessage
	}
	line := "- " + j.Name + " "
	if st.s.Tenant.WebRoot != "" {
		line += st.s.Tenant.WebRoot + "build/" + string(b.ID)
	}
	line += " : " + result
	if b.Detail != "" {
		line += " " + b.Detail
	}
	if !b.Started.IsZero() && b.Ended.After(b.Started) {
		line += " in " + took(b.Ended.Sub(b.Started))
	}
	if !j.Voting {
		line += " (non-voting)"
	}
	return line + "\n"
}

// took is a duration as reports write it.
func took(d time.Duration) string {
	s := int(d.Seconds())
	h, m := s/3600, s/60%60
	switch {
	case h > 0:
		return fmt.Sprintf("%dh %02dm %02ds", h, m, s%60)
	case m > 0:
		return fmt.Sprintf("%dm %02ds", m, s%60)
	}
	return fmt.Sprintf("%02ds", s)
}

// comments adds what builds and configuration errors say of the change's lines. Files that the change does
// not touch get none.
func (st *stepper) comments(it *Item, c *change.Change, t *Text) {
	bs := it.Buildset
	files := st.files(it, c)
	for _, p := range bs.Problems {
		if p.Project == c.Project.Canonical() && p.Branch == c.Branch && p.Line > 0 && slices.Contains(files, p.Path) {
			t.FileComments = append(t.FileComments, change.FileComment{Path: p.Path, Line: p.Line, Message: p.Text, Level: "error"})
		}
	}
	if bs.Graph == nil {
		return
	}
	for _, j := range bs.Graph.Jobs {
		b := bs.Jobs[j.ID].Build
		if b == nil || !slices.Contains(j.Refs, c.Key()) {
			continue
		}
		zuul, _ := b.Data["zuul"].(map[string]any)
		list, _ := zuul["file_comments"].(map[string]any)
		for _, path := range sortedKeys(list) {
			if files != nil && !slices.Contains(files, path) {
				t.Message += "\nWarning:\n  Comments left for invalid file " + path + "\n"
				continue
			}
			entries, _ := list[path].([]any)
			for _, e := range entries {
				if m, ok := e.(map[string]any); ok {
					t.FileComments = append(t.FileComments, fileComment(path, m))
				}
			}
		}
	}
}

func fileComment(path string, m map[string]any) change.FileComment {
	f := change.FileComment{Path: path, Line: number(m["line"])}
	f.Message, _ = m["message"].(string)
	f.Level, _ = m["level"].(string)
	if r, ok := m["range"].(map[string]any); ok {
		f.StartLine, f.StartChar = number(r["start_line"]), number(r["start_character"])
		f.EndLine, f.EndChar = number(r["end_line"]), number(r["end_character"])
	}
	return f
}

// number reads a whole number as JSON or YAML gave it.
func number(v any) int {
	switch n := v.(type) {
	case float64:
		return int(n)
	case int:
		return n
	case int64:
		return int(n)
	}
	return 0
}

func sortedKeys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
