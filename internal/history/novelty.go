package history

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Novelty tells whether a failure is new, by the builds of the same job that ended before.
type Novelty struct {
	// New: the newest builds of other changes succeeded, so that the change itself is the likely cause.
	New bool
	// Builds of other changes were looked at; Failed of them failed, Row of these in a row up to now, and
	// Same of them with the same error.
	Builds, Failed, Row, Same int
	// LastSuccess is the newest that succeeded, of whatever change; nil where none did.
	LastSuccess *Build
	// Since is the first failure of the row.
	Since *Build
}

// Compare holds a failed build against earlier builds of its job, newest first.
func Compare(b *Build, before []Build) Novelty {
	var n Novelty
	row := true
	for i := range before {
		o := &before[i]
		if o.UUID == b.UUID || !counts(o.Result) {
			continue
		}
		ok := o.Result == "SUCCESS"
		if ok && n.LastSuccess == nil {
			n.LastSuccess = o
		}
		if sameChange(b, o) {
			continue
		}
		n.Builds++
		switch {
		case ok:
			row = false
		default:
			n.Failed++
			if headline(o.Detail) == headline(b.Detail) && b.Detail != "" {
				n.Same++
			}
			if row {
				n.Row++
				n.Since = o
			}
		}
	}
	n.New = n.Builds > 0 && n.Row == 0
	return n
}

// counts tells whether a result says something about the job: it ran to its end.
func counts(result string) bool {
	switch result {
	case "SUCCESS", "FAILURE", "TIMED_OUT", "POST_FAILURE", "RETRY_LIMIT":
		return true
	}
	return false
}

func sameChange(a, b *Build) bool {
	return a.Ref.Change != "" && a.Ref.Change == b.Ref.Change && a.Ref.Canonical == b.Ref.Canonical
}

// headline is the first line of a detail without what differs from build to build.
func headline(detail string) string {
	first, _, _ := strings.Cut(detail, "\n")
	return first
}

// String is the novelty in a sentence or two.
func (n Novelty) String() string {
	switch {
	case n.Builds == 0 && n.LastSuccess == nil:
		return "There are no earlier builds of this job to compare with."
	case n.Builds == 0:
		return fmt.Sprintf("Only builds of the same change are known; the last success was %s.", at(n.LastSuccess))
	case n.New && n.Failed == 0:
		return fmt.Sprintf("New: %s of this job for other changes succeeded, the newest success %s.", lastBuilds(n.Builds), at(n.LastSuccess))
	case n.New:
		return fmt.Sprintf("New, or by chance: the newest builds for other changes succeeded, but %d of the last %d failed%s.", n.Failed, n.Builds, n.same())
	case n.LastSuccess == nil:
		return fmt.Sprintf("Not new: %s of this job for other changes failed, too%s; none is known to have succeeded.", lastBuilds(n.Row), n.same())
	}
	return fmt.Sprintf("Not new: %s of this job for other changes failed, too%s, since %s; the last success was %s.",
		lastBuilds(n.Row), n.same(), at(n.Since), at(n.LastSuccess))
}

func (n Novelty) same() string {
	switch {
	case n.Same == 0:
		return ""
	case n.Same == n.Failed:
		return ", with the same error"
	}
	return fmt.Sprintf(", %d with the same error", n.Same)
}

func lastBuilds(n int) string {
	if n == 1 {
		return "the last build"
	}
	return fmt.Sprintf("the last %d builds", n)
}

func at(b *Build) string {
	if b == nil {
		return "never"
	}
	s := b.Ended.UTC().Format("2006-01-02 15:04 UTC")
	if b.Ref.Change != "" {
		s += " (change " + b.Ref.Change + ")"
	}
	return s
}

// compared is how many earlier builds a failure is held against.
const compared = 20

// Novelty compares a build with the earlier ones of its job for the same project and branch, whatever
// their pipeline.
func (d *DB) Novelty(ctx context.Context, tenant string, b *Build) (Novelty, error) {
	final := true
	f := Filter{Project: []string{b.Ref.Project}, Job: []string{b.Job}, Final: &final, Limit: compared}
	if b.Ref.Branch != "" {
		f.Branch = []string{b.Ref.Branch}
	}
	if !b.Ended.IsZero() {
		f.Until = b.Ended.Add(-time.Microsecond)
	}
	before, err := d.Builds(ctx, tenant, f)
	if err != nil {
		return Novelty{}, err
	}
	return Compare(b, before), nil
}
