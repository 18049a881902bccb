// Package report writes the problems of a configuration for people and for programs: as text with the
// lines around each, as JSON, as SARIF for code scanners, and as commands of GitHub's workflows.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
)

// Formats are those that Write knows.
var Formats = []string{"text", "json", "sarif", "github"}

// Write writes the problems in a format. Path turns the place of a problem into the path that readers
// know (a file in a checkout); nil: PROJECT/PATH.
func Write(w io.Writer, format string, problems []config.Problem, path func(config.Source) string) error {
	if path == nil {
		path = func(s config.Source) string { return strings.TrimPrefix(s.Project.Name+"/"+s.Path, "/") }
	}
	var err error
	switch format {
	case "text":
		err = text(w, problems, path)
	case "json":
		err = encode(w, struct {
			Problems []config.Problem `json:"problems"`
			Errors   int              `json:"errors"`
			Warnings int              `json:"warnings"`
		}{notNil(problems), count(problems, config.Error), count(problems, config.Warning)})
	case "sarif":
		err = encode(w, sarif(problems, path))
	case "github":
		err = github(w, problems, path)
	default:
		return fmt.Errorf("write problems: format %q is not known; use one of %s", format, strings.Join(Formats, ", "))
	}
	if err != nil {
		return fmt.Errorf("write %d problems as %s: %w", len(problems), format, err)
	}
	return nil
}

func notNil(list []config.Problem) []config.Problem {
	if list == nil {
		return []config.Problem{}
	}
	return list
}

func count(list []config.Problem, sev config.Severity) int {
	n := 0
	for _, p := range list {
		if p.Severity == sev {
			n++
		}
	}
	return n
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// text is one paragraph for each problem, as compilers write them.
func text(w io.Writer, problems []config.Problem, path func(config.Source) string) error {
	var b strings.Builder
	for _, p := range problems {
		if at := path(p.Source); at != "" {
			b.WriteString(at)
			if p.Line > 0 {
				fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Column, 1))
			}
			b.WriteString(": ")
		}
		fmt.Fprintf(&b, "%s: %s", p.Severity, p.Short)
		if p.Name != "" && p.Name != config.NameUnknown {
			fmt.Fprintf(&b, " [%s]", p.Name)
		}
		b.WriteByte('\n')
		if p.Source.Branch != "" {
			fmt.Fprintf(&b, "  on branch %s", p.Source.Branch)
			if p.Object != "" {
				fmt.Fprintf(&b, ", in %s", strings.TrimSpace(p.Object+" "+p.Declared))
			}
			b.WriteByte('\n')
		}
		source(&b, p)
		if p.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", p.Hint)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s, %s\n", plural(count(problems, config.Error), "error"), plural(count(problems, config.Warning), "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// before is how many lines a snippet begins before the place of the problem.
const before = 4

// source writes the snippet with line numbers, the lines of the problem marked.
func source(b *strings.Builder, p config.Problem) {
	if p.Snippet == "" {
		return
	}
	first := max(p.Line-before, 1)
	for i, line := range strings.Split(p.Snippet, "\n") {
		n, mark := first+i, " "
		if n >= p.Line && n <= max(p.EndLine, p.Line) {
			mark = ">"
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s %5d | %s", mark, n, line), " ") + "\n")
	}
}

// The part of SARIF 2.1.0 that is written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		Level        config.Severity   `json:"level"`
		Message      sarifMessage      `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
	}
)

func sarif(problems []config.Problem, path func(config.Source) string) sarifLog {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "gozer", Rules: []sarifRule{}}}, Results: []sarifResult{}}
	seen := map[string]bool{}
	for i := range problems {
		p := &problems[i]
		id := ruleID(p.Name)
		if !seen[id] {
			seen[id] = true
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{id})
		}
		r := sarifResult{RuleID: id, Level: p.Severity, Message: sarifMessage{message(p)},
			Fingerprints: map[string]string{"identity/v1": p.Identity()}}
		if at := path(p.Source); at != "" {
			loc := sarifLocation{sarifPhysical{Artifact: sarifArtifact{at}}}
			if p.Line > 0 {
				loc.Physical.Region = &sarifRegion{p.Line, max(p.Column, 1), max(p.EndLine, p.Line)}
			}
			r.Locations = []sarifLocation{loc}
		}
		run.Results = append(run.Results, r)
	}
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}

func ruleID(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }

func message(p *config.Problem) string {
	if p.Hint == "" {
		return p.Short
	}
	return p.Short + " (" + p.Hint + ")"
}

var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// github is one workflow command for each problem; GitHub shows them at their lines.
func github(w io.Writer, problems []config.Problem, path func(config.Source) string) error {
	for i := range problems {
		p := &problems[i]
		props := "file=" + escapeProperty.Replace(path(p.Source))
		if p.Line > 0 {
			props += fmt.Sprintf(",line=%d,endLine=%d,col=%d", p.Line, max(p.EndLine, p.Line), max(p.Column, 1))
		}
		props += ",title=" + escapeProperty.Replace(p.Name)
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", p.Severity, props, escapeData.Replace(message(p))); err != nil {
			return err
		}
	}
	return nil
}
