package change_test

import (
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// A requirement of votes is met by one vote that is all that it says; the others by what the change is.
func TestFilter(t *testing.T) {
	now := time.Now()
	yes, no := true, false
	p := change.Project{Connection: "gerrit", Host: "example.org", Name: "shop"}
	c := &change.Change{
		Kind: change.KindChange, Project: p, Number: "1", Patchset: "2", Status: "NEW", Open: true, Current: true,
		Hashtags: []string{"ready", "docs"},
		Votes: []change.Vote{
			{Label: "Verified", Value: 1, User: "zuul", Email: "zuul@example.org", At: now.Add(-time.Hour)},
			{Label: "Review", Value: -1, User: "ann", Email: "ann@example.com", At: now.Add(-72 * time.Hour)},
		},
	}
	branch := &change.Change{Kind: change.KindBranch, Project: p, Branch: "main", Ref: "refs/heads/main"}
	user := func(s string) *change.Pattern { return &change.Pattern{Regex: s} }
	votes := func(v ...change.VoteFilter) change.Filter { return change.Filter{Votes: v} }
	for name, x := range map[string]struct {
		f                change.Filter
		c                *change.Change
		require, refused bool // what a require, and a reject, with this filter say
	}{
		"user":             {votes(change.VoteFilter{User: user("zu")}), c, true, false},
		"user and value":   {votes(change.VoteFilter{User: user("^zuul$"), Label: "Verified", Values: []int{1, 2}}), c, true, false},
		"another value":    {votes(change.VoteFilter{Label: "Verified", Values: []int{2}}), c, false, true},
		"another's vote":   {votes(change.VoteFilter{User: user("ann"), Label: "Verified"}), c, false, true},
		"mail":             {votes(change.VoteFilter{Email: user("@example.com$")}), c, true, false},
		"older":            {votes(change.VoteFilter{Label: "Review", OlderThan: 48 * time.Hour}), c, true, false},
		"not old enough":   {votes(change.VoteFilter{Label: "Verified", OlderThan: 48 * time.Hour}), c, false, true},
		"newer":            {votes(change.VoteFilter{Label: "Verified", NewerThan: 48 * time.Hour}), c, true, false},
		"too old":          {votes(change.VoteFilter{Label: "Review", NewerThan: 48 * time.Hour}), c, false, true},
		"two labels":       {votes(change.VoteFilter{Label: "Verified", Also: []change.VoteFilter{{Label: "Review"}}}), c, false, true},
		"both votes":       {votes(change.VoteFilter{Label: "Verified"}, change.VoteFilter{Label: "Review"}), c, true, false},
		"one of two votes": {votes(change.VoteFilter{Label: "Verified"}, change.VoteFilter{Label: "Gone"}), c, false, false},
		"open":             {change.Filter{Open: &yes}, c, true, false},
		"closed":           {change.Filter{Open: &no}, c, false, true},
		"status":           {change.Filter{Statuses: []string{"NEW", "MERGED"}}, c, true, false},
		"another status":   {change.Filter{Statuses: []string{"MERGED"}}, c, false, true},
		"hashtags":         {change.Filter{Hashtags: []change.Pattern{{Regex: "^rea"}, {Regex: "doc"}}}, c, true, false},
		"one of two tags":  {change.Filter{Hashtags: []change.Pattern{{Regex: "ready"}, {Regex: "no"}}}, c, false, false},
		"a branch's flag":  {change.Filter{Open: &yes}, branch, false, false},
		"a branch's votes": {votes(change.VoteFilter{Label: "Verified"}), branch, false, true},
	} {
		x.f.Connection = "gerrit"
		if got, why := x.f.Match(x.c, now); got != x.require || (why == "") != got {
			t.Errorf("require %s: %v (%s), want %v", name, got, why, x.require)
		}
		x.f.Reject = true
		if got, why := x.f.Match(x.c, now); got != x.refused || (why == "") != got {
			t.Errorf("reject %s: %v (%s), want %v", name, got, why, x.refused)
		}
		x.f.Connection = "elsewhere"
		if ok, _ := x.f.Match(x.c, now); !ok {
			t.Errorf("%s: a filter of another connection refuses", name)
		}
	}
}
