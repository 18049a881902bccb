// Package report writes what deps found for people and programs: audits as text, JSON, SARIF and HTML, the
// evidence for a pair of jobs, simulations, the page of a pipeline, and its picture. It finds nothing out
// itself.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
)

// AuditFormats are those that Audit knows.
var AuditFormats = []string{"text", "json", "sarif", "html"}

// Style says how text is written. All shows notes, edges of low confidence and all that is unknown in
// full; Color adds colours beside the words.
type Style struct {
	All, Color bool
}

// Audit writes an audit in one of AuditFormats.
func Audit(w io.Writer, format string, a *deps.Analysis, out *deps.Audit, s Style) error {
	switch format {
	case "text":
		return auditText(w, a, out, s)
	case "json":
		return JSON(w, struct {
			*deps.Audit
			Pairs deps.Pairs  `json:"pairs"`
			Edges []deps.Edge `json:"edges"`
		}{out, a.Count(out.Pipelines), append([]deps.Edge{}, a.Edges...)})
	case "sarif":
		return sarif(w, out)
	case "html":
		return auditHTML(w, a, out)
	}
	return fmt.Errorf("the format %q is not known; use one of %s", format, strings.Join(AuditFormats, ", "))
}

// JSON writes a value for programs.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

var colors = map[deps.Level]string{deps.LevelError: "31;1", deps.LevelWarning: "33;1", deps.LevelNote: "36"}

func (s Style) paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func auditText(w io.Writer, a *deps.Analysis, out *deps.Audit, s Style) error {
	var b strings.Builder
	if len(out.Pipelines) == 0 {
		b.WriteString("no pipeline here has a job that works on a host of the inventory, in a cluster or in a cloud, as far as was read: only matchers and content were looked at\n")
	} else {
		fmt.Fprintf(&b, "%s in %s, %s\n", count(out.Jobs, "job"), join(out.Pipelines), where(a))
	}
	b.WriteString(contents(out))
	notes := 0
	for _, f := range out.Findings {
		if f.Level == deps.LevelNote && !s.All {
			notes++
			continue
		}
		finding(&b, a, f, s)
	}
	unknownText(&b, out, s)
	if len(out.Waived) > 0 {
		fmt.Fprintf(&b, "\nwaived\n")
		for _, f := range out.Waived {
			fmt.Fprintf(&b, "  %-6s %s\n         because %s\n", f.Rule, f.Text, f.Waived)
		}
	}
	b.WriteString("\n" + Summary(out) + "\n")
	if p := a.Count(out.Pipelines); p.All > 0 {
		b.WriteString(pairsText(p) + "\n")
	}
	if notes > 0 {
		fmt.Fprintf(&b, "--all shows the %s\n", count(notes, "note"))
	}
	b.WriteString(nextSteps(out))
	_, err := io.WriteString(w, b.String())
	return err
}

// crowd is how many findings there must be before the output begins with what kinds they are of.
const crowd = 20

// contents says of many findings of what kinds they are, most first; nothing of few.
func contents(out *deps.Audit) string {
	n := map[string]int{}
	all := 0
	for _, f := range out.Findings {
		if f.Level != deps.LevelNote {
			n[f.Rule]++
			all++
		}
	}
	if all < crowd {
		return ""
	}
	rules := slices.SortedFunc(maps.Keys(n), func(x, y string) int { return cmp.Or(cmp.Compare(n[y], n[x]), cmp.Compare(x, y)) })
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d findings, the worst first\n", all)
	for _, r := range rules {
		fmt.Fprintf(&b, "  %4d  %s, %s\n", n[r], r, deps.RuleOf(r).Title)
	}
	return b.String()
}

// nextSteps says what to do with what was found; nothing where nothing was.
func nextSteps(out *deps.Audit) string {
	pair, edges := "", false
	for _, f := range out.Findings {
		for _, e := range f.Edges {
			if pair == "" {
				pair = e.First + " " + e.Then
			}
			edges = edges || e.Enforced()
		}
	}
	if pair == "" {
		return ""
	}
	text := "\nall evidence for two jobs: gozer deps why " + pair + "\n"
	if edges {
		text += "the patch for the configuration: gozer deps encode\n"
	}
	return text + "what is known and accepted: a waiver with its reason in gozer.yaml\n"
}

func finding(b *strings.Builder, a *deps.Analysis, f deps.Finding, s Style) {
	fmt.Fprintf(b, "\n%s %s, %s\n", s.paint(colors[f.Level], fmt.Sprintf("%-7s", f.Level)), f.Rule, deps.RuleOf(f.Rule).Title)
	row := func(word, text string) { fmt.Fprintf(b, "  %-6s %s\n", word, text) }
	long := func(word, text string) {
		for i, line := range wrap(text, 92) {
			if i > 0 {
				word = ""
			}
			row(word, line)
		}
	}
	what, why := split(a, f)
	long("what", what)
	if why != "" {
		long("why", why)
	}
	if len(f.Pipelines) > 0 {
		row("in", join(f.Pipelines))
	}
	row("sure", fmt.Sprintf("%s; at stake: %s", f.Confidence, stakes[f.Severity]))
	for i, p := range places(f) {
		if i == 4 && !s.All {
			row("", fmt.Sprintf("and %d more", len(places(f))-4))
			break
		}
		if i == 0 {
			row("at", p)
		} else {
			row("", p)
		}
	}
	if n := len(f.Edges); n > 1 && len(f.Jobs) > 2 {
		row("also", fmt.Sprintf("the evidence for two of them: gozer deps why %s %s", f.Edges[0].First, f.Edges[0].Then))
	} else if n > 1 {
		row("also", fmt.Sprintf("%s more between them: gozer deps why %s %s", count(n-1, "edge"), f.Edges[0].First, f.Edges[0].Then))
	}
	if f.Fix != "" {
		long("do", f.Fix)
	}
}

// stakes says what is lost, in words.
var stakes = map[deps.Severity]string{
	deps.Bootstrap: "bootstrap, it fails on a new system",
	deps.Outage:    "outage, what it talks to is restarted under it",
	deps.Torn:      "torn, it meets the other half way",
	deps.Freshness: "freshness, it works with yesterday's value until the next run",
	deps.Info:      "nothing but clarity",
	deps.Blind:     "blind, what stands there was not looked at",
}

func places(f deps.Finding) []string {
	var out []string
	for _, p := range append([]deps.Place{f.At}, f.Also...) {
		if p.File != "" {
			text := p.String()
			if p.Task != "" {
				text += fmt.Sprintf("  (%s)", p.Task)
			}
			if !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

func unknownText(b *strings.Builder, out *deps.Audit, s Style) {
	list := Unknown(out)
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\nunknown, and so neither ordered nor independent\n")
	for i, u := range list {
		if i == 12 && !s.All {
			fmt.Fprintf(b, "  and %d more: --all shows them\n", len(list)-i)
			return
		}
		text := u.Text
		if u.At.File != "" {
			text = u.At.String() + ": " + text
		}
		fmt.Fprintf(b, "  %s\n", text)
		if len(u.Jobs) > 0 {
			fmt.Fprintf(b, "      %s\n", some(u.Jobs, 3))
		}
	}
}

// Doubt is one thing that is not known, with the jobs that it concerns.
type Doubt struct {
	At   deps.Place
	Text string
	Jobs []string
}

// Unknown gathers problems and unknowns by what they say.
func Unknown(out *deps.Audit) []Doubt {
	var list []Doubt
	for _, p := range slices.Concat(out.Problems, out.Unknown) {
		i := slices.IndexFunc(list, func(d Doubt) bool { return d.Text == p.Text && d.At.String() == p.At.String() })
		if i < 0 {
			i = len(list)
			list = append(list, Doubt{At: p.At, Text: p.Text})
		}
		if p.Job != "" && !slices.Contains(list[i].Jobs, p.Job) {
			list[i].Jobs = append(list[i].Jobs, p.Job)
		}
	}
	return list
}

// Summary is one line: how many findings of which level.
func Summary(out *deps.Audit) string {
	n := map[deps.Level]int{}
	for _, f := range out.Findings {
		n[f.Level]++
	}
	text := fmt.Sprintf("%s, %s, %s", count(n[deps.LevelError], "error"), count(n[deps.LevelWarning], "warning"), count(n[deps.LevelNote], "note"))
	if len(out.Waived) > 0 {
		text += fmt.Sprintf(", %d waived", len(out.Waived))
	}
	if u := len(Unknown(out)); u > 0 {
		text += fmt.Sprintf(", %d unknown", u)
	}
	return text
}

func pairsText(p deps.Pairs) string {
	return fmt.Sprintf("of %s of jobs, evidence orders %d and makes %d exclusive; of %d nothing is known, which is no proof that they are independent",
		count(p.All, "pair"), p.Ordered, p.Exclusive, p.Unknown)
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func join(words []string) string {
	switch len(words) {
	case 0:
		return "no pipeline"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func some(words []string, n int) string {
	if len(words) <= n+1 {
		return join(words)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:n], ", "), len(words)-n)
}

// wrap breaks text into lines of a width at most, where it has spaces.
func wrap(text string, width int) []string {
	var out []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			out = append(out, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}
