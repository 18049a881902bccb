package pipeline

import (
	"fmt"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// text is what a report says to one of the item's changes, for reporters that take free text.
func (st *stepper) text(it *Item, c *change.Change, a Action) Text {
	var t Text
	var warnings []string
	t.FileComments, warnings = st.fileComments(it, c)
	body := st.intro(it, c, a) + st.appendix(it, warnings)
	if f := st.s.Settings.Messages.Footer; f != "" {
		body += "\n" + f
	}
	t.Message = body
	return t
}

func (st *stepper) intro(it *Item, c *change.Change, a Action) string {
	m := &st.s.Settings.Messages
	switch a {
	case ReportEnqueue:
		return st.fill(m.Enqueue, it, c)
	case ReportStart:
		return st.fill(m.Start, it, c)
	case ReportNoJobs:
		return st.fill(m.NoJobs, it, c)
	case ReportDequeue:
		return m.Dequeue + "\n\n" + st.jobLines(it)
	case ReportSuccess:
		return m.Success + "\n" + st.url(it) + "\n\n" + st.jobLines(it)
	case ReportConfigError:
		return it.Buildset.Problems[0].Text
	case ReportMergeConflict:
		return m.MergeConflict
	}
	return st.failureText(it)
}

func (st *stepper) failureText(it *Item) string {
	which, cycle := "This change", len(it.Changes) > 1
	if cycle {
		which = "One of these changes"
	}
	switch {
	case it.Blocked != "":
		return which + " depends on a change that failed to merge.\n\n" + it.Blocked + "\n"
	case it.MissingRequirements:
		return which + " is unable to merge due to a missing merge requirement.\n"
	case it.Moved > maxMoved:
		return fmt.Sprintf("%s could not merge: the branch moved during each of the last %d tests.\n%s\n\n%s",
			which, it.Moved, st.url(it), st.jobLines(it))
	case it.Refused != "" && !cycle:
		return "This change passed, and could not be merged: " + sentence(it.Refused) + "\n" + st.url(it) + "\n\n" + st.jobLines(it)
	case cycle:
		return "These changes are part of a dependency cycle that failed.\n\n" +
			st.s.Settings.Messages.Failure + "\n" + st.url(it) + "\n\n" + st.jobLines(it) + "\n" + st.related(it)
	}
	return st.s.Settings.Messages.Failure + "\n" + st.url(it) + "\n\n" + st.jobLines(it)
}

// related lists the changes of a cycle, with a note on those whose configuration is at fault.
func (st *stepper) related(it *Item) string {
	b := strings.Builder{}
	b.WriteString("Related changes:\n")
	for _, c := range st.changes(it) {
		b.WriteString("  - " + c.URL)
		for _, p := range it.Buildset.Problems {
			if p.Project == c.Project.Canonical() && p.Branch == c.Branch {
				b.WriteString(" (config error)")
				break
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// appendix is what follows the jobs: warnings and, where the project asked for it, how jobs were chosen.
func (st *stepper) appendix(it *Item, more []string) string {
	bs := it.Buildset
	warnings := append(append([]string{}, bs.Warnings...), more...)
	if it.Refused != "" && len(it.Changes) > 1 {
		warnings = append([]string{"Not merged: " + it.Refused}, warnings...)
	}
	if bs.Conflict != "" {
		warnings = append([]string{bs.Conflict}, warnings...)
	}
	if n := min(it.Moved, maxMoved); n > 0 {
		warnings = append(warnings, fmt.Sprintf(
			"The branch moved while this was tested; it was tested again on the new head (%d of at most %d times).", n, maxMoved))
	}
	out := ""
	if len(warnings) > 0 {
		out += "\n\nWarning:\n  " + strings.Join(warnings, "\n  ") + "\n"
	}
	if g := bs.Graph; g != nil && len(g.Debug) > 0 {
		out += "\nDebug information:\n  " + strings.Join(g.Debug, "\n  ") + "\n"
	}
	return out
}

// url is where people see the item: its status while it runs, its buildset once it has a result.
func (st *stepper) url(it *Item) string {
	root := st.s.Tenant.WebRoot
	if it.Buildset.Result != "" && it.Buildset.Result != Dequeued {
		return root + "buildset/" + string(it.Buildset.ID)
	}
	c := st.s.Changes[it.Changes[0]]
	if c == nil {
		return root + "status"
	}
	return root + "status/change/" + c.ID()
}

// fill puts the item's facts into a message of the configuration: {pipeline.name}, {change.number} and
// the like. What it does not know stays as it is.
func (st *stepper) fill(msg string, it *Item, c *change.Change) string {
	if !strings.Contains(msg, "{") {
		return msg
	}
	url := st.url(it)
	return strings.NewReplacer(
		"{{", "{", "}}", "}",
		"{pipeline.name}", st.s.Settings.Name, "{item_url}", url, "{status_url}", url,
		"{change}", c.ID(), "{change.project}", c.Project.Name, "{change.branch}", c.Branch, "{change.ref}", c.Ref,
		"{change.number}", c.Number, "{change.patchset}", c.Patchset, "{change.url}", c.URL, "{change.topic}", c.Topic,
		"{change.owner}", c.Owner, "{change.commit_id}", c.Commit,
		"{change.newrev}", c.NewRev, "{change.oldrev}", c.OldRev,
	).Replace(msg)
}

// jobLines is one line a job. Jobs that a parent's child_jobs left out are only counted: whoever uses
// that expects it.
func (st *stepper) jobLines(it *Item) string {
	g := it.Buildset.Graph
	if g == nil {
		return ""
	}
	out := strings.Builder{}
	skipped := 0
	for _, j := range g.Jobs {
		js := it.Buildset.Jobs[j.ID]
		switch {
		case js.ByChildJobs:
			skipped++
		case js.Build != nil:
			out.WriteString(st.jobLine(j, js.Build))
		}
	}
	switch {
	case skipped == 1:
		out.WriteString("Skipped 1 job\n")
	case skipped > 1:
		fmt.Fprintf(&out, "Skipped %d jobs\n", skipped)
	}
	return out.String()
}

func (st *stepper) jobLine(j *job.Job, b *Build) string {
	result := string(b.Result)
	switch {
	case b.Result == Success && j.SuccessMessage != "":
		result = j.SuccessMessage
	case b.Result != Success && j.FailureMessage != "":
		result = j.FailureMessage
	}
	line := "- " + j.Name + " " + st.s.Tenant.WebRoot + "build/" + string(b.ID) + " : " + result
	if b.Detail != "" {
		line += " " + b.Detail
	}
	if !b.Requested.IsZero() && !b.Started.IsZero() && !b.Ended.IsZero() {
		line += " in " + elapsed(b.Ended.Sub(b.Started))
	}
	if !j.Voting {
		line += " (non-voting)"
	}
	return line + "\n"
}

// elapsed is a duration as reports show it: 42s, 3m 07s, 1h 02m 03s.
func elapsed(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	h, m := s/3600, s/60%60
	s %= 60
	switch {
	case h > 0:
		return fmt.Sprintf("%dh %02dm %02ds", h, m, s)
	case m > 0:
		return fmt.Sprintf("%dm %02ds", m, s)
	}
	return fmt.Sprintf("%ds", s)
}

// summary is the line that history keeps of a buildset's end.
func (st *stepper) summary(it *Item) string {
	bs := it.Buildset
	switch {
	case len(bs.Problems) > 0:
		return bs.Problems[0].Text
	case bs.Conflict != "":
		return bs.Conflict
	case it.Blocked != "":
		return it.Blocked
	case it.Refused != "":
		return it.Refused
	case len(bs.Warnings) > 0:
		return bs.Warnings[0]
	}
	return ""
}

// neededText says which changes are not ahead of one that needs them.
func neededText(needed []*change.Change) string {
	urls := make([]string, len(needed))
	for i, c := range needed {
		urls[i] = c.URL
	}
	if len(urls) == 1 {
		return "Change " + urls[0] + " is needed."
	}
	return "Changes " + strings.Join(urls, ", ") + " are needed."
}
