package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gozer-ci/gozer/internal/deps"
)

// Triggers is the history of a pipeline, replayed.
type Triggers struct {
	Pipeline string   `json:"pipeline"`
	Commits  int      `json:"commits"`
	Total    Tally    `json:"total"`
	Jobs     []Tally  `json:"jobs"`
	Changes  []Change `json:"changes"`
}

// Tally counts the runs of a job. Needed counts those of which an input had changed, triggered or not.
type Tally struct {
	Job       string   `json:"job,omitempty"`
	Triggered int      `json:"triggered"`
	Needed    int      `json:"needed"`
	Idle      int      `json:"for_nothing"`
	Missed    int      `json:"missed"`
	Suggested []string `json:"suggested_files,omitempty"`
	// Partial: not all that it reads is known, so that it may have been needed more often.
	Partial bool `json:"partial,omitempty"`
}

func (t *Tally) add(r deps.Run) {
	if r.Triggered {
		t.Triggered++
	}
	switch {
	case r.Needed != "" && r.Triggered:
		t.Needed++
	case r.Needed != "":
		t.Needed++
		t.Missed++
	default:
		t.Idle++
	}
}

// Change is one commit with the jobs that it triggered or needed.
type Change struct {
	Commit  string     `json:"commit"`
	Subject string     `json:"subject"`
	Runs    []deps.Run `json:"runs"`
}

// Replay goes through commits, newest first.
func Replay(a *deps.Analysis, p *deps.Pipeline, commits []deps.Commit) *Triggers {
	t := &Triggers{Pipeline: p.Name, Commits: len(commits), Changes: []Change{}}
	index := map[string]int{}
	setup := a.Setup()
	for _, m := range p.Members {
		if j := a.Job(m.Job); j != nil && !slices.Contains(setup, m.Job) {
			index[m.Job] = len(t.Jobs)
			t.Jobs = append(t.Jobs, Tally{Job: m.Job, Partial: a.Partial(j), Suggested: a.Suggest(m.Job)})
		}
	}
	for _, c := range commits {
		runs := a.Replay(p, c)
		if len(runs) == 0 {
			continue
		}
		t.Changes = append(t.Changes, Change{c.ID, c.Subject, runs})
		for _, r := range runs {
			t.Jobs[index[r.Job]].add(r)
			t.Total.add(r)
		}
	}
	return t
}

// Text writes it for people: a table of jobs, the changes that were not answered exactly (all with all),
// and the files that matchers should have with suggest.
func (t *Triggers) Text(w io.Writer, suggest, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s, the last %s\n", t.Pipeline, count(t.Commits, "commit"))
	n := t.Total
	fmt.Fprintf(&b, "%d runs were triggered: %d with a changed input (%s), %d for nothing; %d that were needed were missed (%s of the needed)\n\n",
		n.Triggered, n.Triggered-n.Idle, percent(n.Triggered-n.Idle, n.Triggered), n.Idle, n.Missed, percent(n.Missed, n.Needed))
	width := len("job")
	for _, j := range t.Jobs {
		width = max(width, utf8.RuneCountInString(j.Job))
	}
	fmt.Fprintf(&b, "%-*s  triggered  for nothing  missed\n", width, "job")
	jobs := slices.Clone(t.Jobs)
	slices.SortStableFunc(jobs, func(x, y Tally) int { return cmp.Compare(y.Idle+y.Missed, x.Idle+x.Missed) })
	for _, j := range jobs {
		note := ""
		if j.Partial {
			note = "  not all of it is known"
		}
		fmt.Fprintf(&b, "%-*s  %9d  %11d  %6d%s\n", width, j.Job, j.Triggered, j.Idle, j.Missed, note)
	}
	t.changes(&b, all)
	if suggest {
		for _, j := range t.Jobs {
			fmt.Fprintf(&b, "\n%s\n  files:\n", j.Job)
			for _, f := range j.Suggested {
				fmt.Fprintf(&b, "    - %s\n", f)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Triggers) changes(b *strings.Builder, all bool) {
	shown := 0
	for _, c := range t.Changes {
		wrong := slices.ContainsFunc(c.Runs, func(r deps.Run) bool { return r.Triggered != (r.Needed != "") })
		if !all && (!wrong || shown == 10) {
			continue
		}
		if shown == 0 {
			if all {
				b.WriteString("\nchanges, newest first\n")
			} else {
				b.WriteString("\nthe latest changes that ran too much or too little (--all shows every one)\n")
			}
		}
		shown++
		fmt.Fprintf(b, "\n%.10s %s\n", c.Commit, c.Subject)
		for _, r := range c.Runs {
			switch {
			case r.Triggered && r.Needed != "":
				fmt.Fprintf(b, "  needed       %s: %s\n", r.Job, r.Needed)
			case r.Triggered:
				fmt.Fprintf(b, "  for nothing  %s: nothing that it reads had changed\n", r.Job)
			default:
				fmt.Fprintf(b, "  missed       %s: %s\n", r.Job, r.Needed)
			}
		}
	}
}

func percent(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %%", (100*part+whole/2)/whole)
}
