// Package explain writes what a layout knows for people and for programs: a frozen job with where each
// of its values comes from, the differences of two layouts, and job graphs as text, Mermaid, DOT, JSON
// and SVG. It decides nothing: all content comes from package layout.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Job writes a frozen job, as text or json: every attribute, its value, and the places that set it.
func Job(w io.Writer, format string, e *layout.Explanation) error {
	switch format {
	case "json":
		return encode(w, e)
	case "text":
	default:
		return unknown(format, "text", "json")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "job %s\n", e.Job.Name)
	if e.Pending != "" {
		fmt.Fprintf(&b, "  it may not run here: %s\n", e.Pending)
	}
	for _, r := range e.Remarks {
		fmt.Fprintf(&b, "  %s\n", r)
	}
	b.WriteString("\ndefinitions, base first\n")
	for _, d := range e.Job.Path {
		fmt.Fprintf(&b, "  %-24s %s\n", d.Job, place(d.Source, d.Line))
	}
	b.WriteString("\nattributes\n")
	for _, a := range e.Attributes {
		attribute(&b, a)
	}
	return write(w, &b)
}

func attribute(b *strings.Builder, a layout.Attribute) {
	lines := value(a.Value)
	if _, dict := a.Value.(map[string]any); len(lines) == 1 && !dict && !strings.HasPrefix(lines[0], "- ") {
		fmt.Fprintf(b, "  %s: %s\n", a.Name, lines[0])
	} else {
		fmt.Fprintf(b, "  %s:\n", a.Name)
		for _, l := range lines {
			fmt.Fprintf(b, "    %s\n", l)
		}
	}
	if len(a.From) == 0 {
		b.WriteString("      (default)\n")
	}
	for _, o := range a.From {
		note := ""
		if o.Attached {
			note = " in a project's pipeline"
		}
		if o.Overridden {
			note += " (overridden)"
		}
		fmt.Fprintf(b, "      from %s at %s%s\n", o.Job, place(o.Source, o.Line), note)
	}
}

func place(s config.Source, line int) string {
	p := config.Problem{Source: s, Line: line}
	return strings.TrimPrefix(p.Where(), "/")
}

// value is one line, or one for each entry of a list or dictionary.
func value(v any) []string {
	switch v := v.(type) {
	case []job.Playbook:
		out := make([]string, len(v))
		for i, p := range v {
			out[i] = playbook(p)
		}
		return orNone(out)
	case []job.Role:
		out := make([]string, len(v))
		for i, r := range v {
			out[i] = fmt.Sprintf("- %s as %s", r.Project.Name, r.Name)
			if r.Implicit {
				out[i] += " (implicit)"
			}
		}
		return orNone(out)
	case []job.RequiredProject:
		out := make([]string, len(v))
		for i, r := range v {
			out[i] = "- " + r.Project.Name
			if r.OverrideCheckout != "" {
				out[i] += " at " + r.OverrideCheckout
			}
		}
		return orNone(out)
	case []change.Pattern:
		out := make([]string, len(v))
		for i, p := range v {
			out[i] = "- " + p.Regex
			if p.Negate {
				out[i] = "- not " + p.Regex
			}
		}
		return orNone(out)
	case []config.Dependency:
		out := make([]string, len(v))
		for i, d := range v {
			out[i] = "- " + d.Name
			if d.Soft {
				out[i] += " (soft)"
			}
		}
		return orNone(out)
	case map[string]any:
		out := make([]string, 0, len(v))
		for k, e := range v {
			out = append(out, k+": "+compact(e))
		}
		slices.Sort(out)
		return out
	}
	return []string{compact(v)}
}

func orNone(list []string) []string {
	if len(list) == 0 {
		return []string{"[]"}
	}
	return list
}

func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// playbook shows the names of secrets, never what is in them.
func playbook(p job.Playbook) string {
	s := fmt.Sprintf("- %s of %s@%s", p.Path, p.Source.Project.Name, p.Source.Branch)
	if !p.Source.Trusted {
		s += ", untrusted"
	}
	if p.Cleanup {
		s += ", cleanup"
	}
	for _, x := range p.Secrets {
		s += ", secret " + x.Name + " as " + x.Var
	}
	for _, x := range p.Semaphores {
		s += ", semaphore " + x
	}
	return s
}

// Differences writes what Diff found, as text or json.
func Differences(w io.Writer, format string, list []layout.Difference) error {
	switch format {
	case "json":
		if list == nil {
			list = []layout.Difference{}
		}
		return encode(w, list)
	case "text":
	default:
		return unknown(format, "text", "json")
	}
	var b strings.Builder
	last := ""
	for _, d := range list {
		if head := fmt.Sprintf("%s@%s %s", d.Project.Name, d.Branch, d.Pipeline); head != last {
			fmt.Fprintln(&b, head)
			last = head
		}
		switch d.Kind {
		case "added":
			fmt.Fprintf(&b, "  + %s\n", d.Job)
		case "removed":
			fmt.Fprintf(&b, "  - %s\n", d.Job)
		case "changed":
			fmt.Fprintf(&b, "  ~ %s: %s\n", d.Job, strings.Join(d.Attributes, ", "))
		case "broken":
			fmt.Fprintf(&b, "  ! the jobs cannot be frozen any more: %s\n", d.Error)
		case "repaired":
			b.WriteString("  ! the jobs can be frozen again\n")
		}
	}
	if len(list) == 0 {
		b.WriteString("no job differs\n")
	}
	return write(w, &b)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func write(w io.Writer, b *strings.Builder) error {
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}

func unknown(format string, known ...string) error {
	return fmt.Errorf("format %q is not known; use one of %s", format, strings.Join(known, ", "))
}
