package change

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Pattern is a regular expression of the configuration: RE2, or, where only that compiles it, a
// Perl-style one (config warns about those); anchored at the start only unless used with Search.
// It is data: Match compiles and caches behind the scenes.
type Pattern struct {
	Regex  string `json:"regex"`
	Negate bool   `json:"negate,omitempty"`
	// Perl: the pattern needs the Perl-style engine.
	Perl bool `json:"perl,omitempty"`
	// Exact: the text is no pattern; it must be equal (implied branch matchers).
	Exact bool `json:"exact,omitempty"`
}

// VoteFilter asks for a vote. Empty fields ask for nothing.
type VoteFilter struct {
	User  *Pattern `json:"user,omitempty"`
	Email *Pattern `json:"email,omitempty"`
	// OlderThan and NewerThan compare with the age of the vote.
	OlderThan time.Duration `json:"older_than,omitempty"`
	NewerThan time.Duration `json:"newer_than,omitempty"`
	Label     string        `json:"label,omitempty"`
	// Values are the accepted ones; empty accepts any.
	Values []int `json:"values,omitempty"`
	// Also is what the same vote must be, too.
	Also []VoteFilter `json:"also,omitempty"`
}

// ReviewFilter asks for a GitHub-style review, see semantics 3.2.
type ReviewFilter struct {
	VoteFilter
	Type       []string `json:"type,omitempty"`
	Permission string   `json:"permission,omitempty"`
}

// Filter is one `require` or `reject` entry of a pipeline for one connection, in one form for all
// drivers: a driver that lacks a field leaves it empty.
type Filter struct {
	Connection string `json:"connection"`
	// Reject turns the meaning: the filter accepts what matches nothing of it.
	Reject bool `json:"reject,omitempty"`

	Votes     []VoteFilter   `json:"votes,omitempty"`
	Reviews   []ReviewFilter `json:"reviews,omitempty"`
	Open      *bool          `json:"open,omitempty"`
	Merged    *bool          `json:"merged,omitempty"`
	Current   *bool          `json:"current_patchset,omitempty"`
	WIP       *bool          `json:"wip,omitempty"`
	Draft     *bool          `json:"draft,omitempty"`
	Approved  *bool          `json:"approved,omitempty"`
	Statuses  []string       `json:"statuses,omitempty"`
	Hashtags  []Pattern      `json:"hashtags,omitempty"`
	Labels    []string       `json:"labels,omitempty"`
	CheckRuns []Pattern      `json:"check_runs,omitempty"`
}

// Match tells whether f accepts c at the time now, and if not, why, in words for people. Filters of
// other connections accept everything. See semantics 3.1.
func (f *Filter) Match(c *Change, now time.Time) (ok bool, why string) {
	if f.Connection != c.Project.Connection {
		return true, ""
	}
	if f.Reject {
		return f.rejects(c, now)
	}
	return f.requires(c, now)
}

func (f *Filter) requires(c *Change, now time.Time) (bool, string) {
	for _, b := range f.flags(c) {
		if b.want == nil {
			continue
		}
		if !c.IsChange() {
			return false, "it is no change, and the pipeline requires " + b.name
		}
		if *b.want != b.is {
			return false, b.name + " is " + strconv.FormatBool(b.is)
		}
	}
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, c.Status) {
		return false, "its status is " + orNone(c.Status) + ", not " + strings.Join(f.Statuses, " or ")
	}
	for i := range f.Votes {
		if !c.IsChange() {
			return false, "it is no change, and the pipeline requires votes"
		}
		if !f.Votes[i].any(c.Votes, now) {
			return false, "no vote matches " + f.Votes[i].String()
		}
	}
	for _, p := range f.Hashtags {
		if !slices.ContainsFunc(c.Hashtags, p.Search) {
			return false, "no hashtag matches " + p.Regex
		}
	}
	for _, l := range f.Labels {
		if !slices.Contains(c.Labels, l) {
			return false, "label " + l + " is missing"
		}
	}
	return true, ""
}

func (f *Filter) rejects(c *Change, now time.Time) (bool, string) {
	for _, b := range f.flags(c) {
		if b.want == nil {
			continue
		}
		if !c.IsChange() {
			return false, "it is no change, and the pipeline rejects by " + b.name
		}
		if *b.want == b.is {
			return false, b.name + " is " + strconv.FormatBool(b.is)
		}
	}
	if len(f.Statuses) > 0 && slices.Contains(f.Statuses, c.Status) {
		return false, "its status is " + c.Status
	}
	for i := range f.Votes {
		if f.Votes[i].any(c.Votes, now) {
			return false, "a vote matches " + f.Votes[i].String()
		}
	}
	for _, p := range f.Hashtags {
		if slices.ContainsFunc(c.Hashtags, p.Search) {
			return false, "a hashtag matches " + p.Regex
		}
	}
	for _, l := range f.Labels {
		if slices.Contains(c.Labels, l) {
			return false, "it has label " + l
		}
	}
	return true, ""
}

type flag struct {
	name string
	want *bool
	is   bool
}

func (f *Filter) flags(c *Change) []flag {
	return []flag{
		{"open", f.Open, c.Open}, {"merged", f.Merged, c.Merged},
		{"current-patchset", f.Current, c.Current},
		{"wip", f.WIP, c.WIP}, {"draft", f.Draft, c.Draft},
	}
}

// any tells whether one of the votes is what v asks for.
func (v *VoteFilter) any(votes []Vote, now time.Time) bool {
	return slices.ContainsFunc(votes, func(x Vote) bool { return v.Match(x, now) })
}

// Match tells whether x is what v asks for, at the time now.
func (v *VoteFilter) Match(x Vote, now time.Time) bool {
	age := now.Sub(x.At)
	switch {
	case v.User != nil && !v.User.Search(x.User),
		v.Email != nil && !v.Email.Search(x.Email),
		v.OlderThan > 0 && age < v.OlderThan,
		v.NewerThan > 0 && age >= v.NewerThan,
		v.Label != "" && v.Label != x.Label,
		len(v.Values) > 0 && !slices.Contains(v.Values, x.Value):
		return false
	}
	return !slices.ContainsFunc(v.Also, func(a VoteFilter) bool { return !a.Match(x, now) })
}

// String is v as people write it.
func (v *VoteFilter) String() string {
	var parts []string
	if v.Label != "" {
		vals := make([]string, len(v.Values))
		for i, n := range v.Values {
			vals[i] = strconv.Itoa(n)
		}
		parts = append(parts, strings.TrimSpace(v.Label+" "+strings.Join(vals, " or ")))
	}
	if v.User != nil {
		parts = append(parts, "by "+v.User.Regex)
	}
	if v.Email != nil {
		parts = append(parts, "by "+v.Email.Regex)
	}
	if v.OlderThan > 0 {
		parts = append(parts, "older than "+v.OlderThan.String())
	}
	if v.NewerThan > 0 {
		parts = append(parts, "newer than "+v.NewerThan.String())
	}
	for i := range v.Also {
		parts = append(parts, "and "+v.Also[i].String())
	}
	return strings.Join(parts, " ")
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
