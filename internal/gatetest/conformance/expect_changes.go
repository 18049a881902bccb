package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
)

type changeWant struct {
	Status           *string       `yaml:"status"`
	Open             *bool         `yaml:"open"`
	Reports          *some         `yaml:"reports"`
	MessageCount     *int          `yaml:"message-count"`
	Messages         []messageWant `yaml:"messages"`
	VoteCounts       []countWant   `yaml:"vote-counts"`
	Votes            []voteWant    `yaml:"votes"`
	FileCommentCount *int          `yaml:"file-comment-count"`
}

// some is a number, or whether there is any.
type some struct {
	number int
	any    bool
}

// UnmarshalYAML reads both forms.
func (s *some) UnmarshalYAML(n *yaml.Node) error {
	if n.Decode(&s.any) == nil {
		return nil
	}
	return n.Decode(&s.number)
}

func (s *some) is(key string, got int) error {
	if s == nil || s.number == got || (s.any && got > 0) {
		return nil
	}
	if s.any {
		return difference(key, "some", got)
	}
	return difference(key, s.number, got)
}

type countWant struct {
	Patchset int `yaml:"patchset"`
	Count    int `yaml:"count"`
}

type voteWant struct {
	Patchset int     `yaml:"patchset"`
	At       int     `yaml:"at"`
	Label    *string `yaml:"label"`
	Value    *int    `yaml:"value"`
}

type messageWant struct {
	At          int   `yaml:"at"`
	Contains    texts `yaml:"contains"`
	Excludes    texts `yaml:"excludes"`
	Equals      texts `yaml:"equals"`
	StartsWith  texts `yaml:"starts-with"`
	Matches     texts `yaml:"matches"`
	NotMatches  texts `yaml:"not-matches"`
	Occurrences []struct {
		Text  string `yaml:"text"`
		Count int    `yaml:"count"`
	} `yaml:"occurrences"`
}

func (w *world) changes(want map[string]changeWant) error {
	return each(want, func(id string, x changeWant) error { return within("changes."+id, w.changeIs(id, x)) })
}

func (w *world) changeIs(id string, want changeWant) error {
	n, _, err := w.patchset(id)
	if err != nil {
		return err
	}
	c, err := w.gerrit.Look(n)
	if err != nil {
		return err
	}
	for _, err := range []error{
		equal("status", want.Status, c.Status), equal("open", want.Open, c.Open()), want.Reports.is("reports", c.Reports),
		equal("message-count", want.MessageCount, len(c.Messages)), equal("file-comment-count", want.FileCommentCount, len(c.FileComments)),
	} {
		if err != nil {
			return errorWith(err, c.Messages)
		}
	}
	for _, m := range want.Messages {
		text, err := at(c.Messages, m.At)
		if err != nil {
			return within("messages", err)
		}
		if err := within(fmt.Sprintf("messages[%d]", m.At), m.holds(text)); err != nil {
			return err
		}
	}
	votes := func(ps int) []change.Vote {
		if ps < 1 || ps > len(c.Patchsets) {
			return nil
		}
		return c.Patchsets[ps-1].Votes
	}
	for _, x := range want.VoteCounts {
		if err := equal(fmt.Sprintf("vote-counts[%d]", x.Patchset), &x.Count, len(votes(x.Patchset))); err != nil {
			return err
		}
	}
	for _, x := range want.Votes {
		v, err := at(votes(x.Patchset), x.At)
		if err != nil {
			return within("votes", err)
		}
		key := fmt.Sprintf("votes[%d][%d]", x.Patchset, x.At)
		if err := equal(key+".label", x.Label, v.Label); err != nil {
			return err
		}
		if err := equal(key+".value", x.Value, v.Value); err != nil {
			return err
		}
	}
	return nil
}

// errorWith shows what was reported, where reports or status differ: it mostly says why.
func errorWith(err error, messages []string) error {
	d, ok := err.(differs)
	if ok && len(messages) > 0 {
		d.got += fmt.Sprintf(" (reported: %s)", inline(messages))
		return d
	}
	return err
}

// What this system says beyond the reference, or lays out otherwise: why a merge failed, and blank lines.
var (
	detail = regexp.MustCompile(`(?m)^(  Error merging \S+ for \d+,\d+): .*$`)
	blank  = regexp.MustCompile(`\n{2,}`)
)

// sameText tells whether a report says what the reference says.
func sameText(want, got string) bool {
	plain := func(s string) string {
		return strings.TrimRight(blank.ReplaceAllString(detail.ReplaceAllString(s, "$1"), "\n"), "\n")
	}
	return want == got || plain(want) == plain(got)
}

// texts are one text or several.
type texts []string

func (t *texts) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*t = texts{one}
		return nil
	}
	return unmarshal((*[]string)(t))
}

func (m messageWant) holds(text string) error {
	for _, q := range []struct {
		key   string
		texts []string
		ok    func(string) (bool, error)
	}{
		{"contains", m.Contains, func(s string) (bool, error) { return strings.Contains(text, s), nil }},
		{"excludes", m.Excludes, func(s string) (bool, error) { return !strings.Contains(text, s), nil }},
		{"equals", m.Equals, func(s string) (bool, error) { return sameText(s, text), nil }},
		{"starts-with", m.StartsWith, func(s string) (bool, error) { return strings.HasPrefix(text, s), nil }},
		{"matches", m.Matches, func(s string) (bool, error) { return regexp.MatchString(s, text) }},
		{"not-matches", m.NotMatches, func(s string) (bool, error) { ok, err := regexp.MatchString(s, text); return !ok, err }},
	} {
		for _, s := range q.texts {
			ok, err := q.ok(s)
			if err != nil {
				return err
			}
			if !ok {
				return difference(q.key, s, text)
			}
		}
	}
	for _, o := range m.Occurrences {
		if got := strings.Count(text, o.Text); got != o.Count {
			return difference(fmt.Sprintf("occurrences of %q", o.Text), o.Count, got)
		}
	}
	return nil
}

type mailWant struct {
	At                int      `yaml:"at"`
	From              *string  `yaml:"from"`
	To                []string `yaml:"to"`
	Body              *string  `yaml:"body"`
	BodyContains      texts    `yaml:"body-contains"`
	BodyStartsWith    texts    `yaml:"body-starts-with"`
	BodyNotStartsWith texts    `yaml:"body-not-starts-with"`
	BodyEndsWith      texts    `yaml:"body-ends-with"`
}

func (w *world) mails(want []mailWant) error {
	for _, x := range want {
		m, err := at(w.mail.all(), x.At)
		if err != nil {
			return within("mail", err)
		}
		if err := within(fmt.Sprintf("mail[%d]", x.At), x.holds(m)); err != nil {
			return err
		}
	}
	return nil
}

func (x mailWant) holds(m mail) error {
	if err := equal("from", x.From, m.from); err != nil {
		return err
	}
	if x.To != nil && !slices.Equal(x.To, m.to) {
		return difference("to", x.To, m.to)
	}
	if x.Body != nil && !sameText(*x.Body, m.body) {
		return difference("body", *x.Body, m.body)
	}
	for _, s := range x.BodyContains {
		if !strings.Contains(m.body, s) {
			return difference("body-contains", s, m.body)
		}
	}
	for _, s := range x.BodyStartsWith {
		if !strings.HasPrefix(m.body, s) {
			return difference("body-starts-with", s, m.body)
		}
	}
	for _, s := range x.BodyNotStartsWith {
		if strings.HasPrefix(m.body, s) {
			return difference("body-not-starts-with", s, m.body)
		}
	}
	for _, s := range x.BodyEndsWith {
		if !strings.HasSuffix(m.body, s) {
			return difference("body-ends-with", s, m.body)
		}
	}
	return nil
}
