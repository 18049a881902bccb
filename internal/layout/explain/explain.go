// Package explain writes what a layout knows for people and for programs: a frozen job with where each
// of its values comes from, the differences of two layouts, and job graphs as text, Mermaid, DOT, JSON
// and SVG. It decides nothing: all content comes from package layout.
package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Place writes where a line of a source is, for people; see Places.
type Place func(s config.Source, line int) string

// Places writes PROJECT/PATH@BRANCH:LINE.
func Places(s config.Source, line int) string {
	p := config.Problem{Source: s, Line: line}
	return strings.TrimPrefix(p.Where(), "/")
}

// Job writes a frozen job, as text or json: every attribute, its value, and the places that set it (nil: as Places
// writes them). Secrets are named; what is in them is left out, although it is encrypted.
func Job(w io.Writer, format string, e *layout.Explanation, place Place) error {
	switch format {
	case "json":
		return encode(w, e)
	case "text":
	default:
		return unknown(format, "text", "json")
	}
	if place == nil {
		place = Places
	}
	var b strings.Builder
	fmt.Fprintf(&b, "job %s\n", e.Job.Name)
	if e.Pending != "" {
		fmt.Fprintf(&b, "  it may not run here: %s\n", e.Pending)
	}
	for _, r := range e.Remarks {
		fmt.Fprintf(&b, "  %s\n", r)
	}
	b.WriteString("\ndefinitions, in the order in which they are applied\n")
	width := 0
	for _, d := range e.Job.Path {
		width = max(width, len(d.Job))
	}
	for _, d := range e.Job.Path {
		note := ""
		if len(d.Set) > 0 {
			note = "  sets " + strings.Join(d.Set, ", ")
		}
		fmt.Fprintf(&b, "  %-*s  %s%s\n", width, d.Job, place(d.Source, d.Line), note)
	}
	b.WriteString("\nattributes\n")
	for _, a := range e.Attributes {
		attribute(&b, a, place)
	}
	return write(w, &b)
}

func attribute(b *strings.Builder, a layout.Attribute, place Place) {
	if dict, ok := a.Value.(map[string]any); ok && a.Keys != nil {
		fmt.Fprintf(b, "  %s:\n", a.Name)
		for _, k := range slices.Sorted(maps.Keys(dict)) {
			fmt.Fprintf(b, "    %s: %s\n", k, compact(dict[k]))
			origins(b, a.Keys[k], place)
		}
		return
	}
	lines := Lines(a.Value)
	if len(lines) == 1 && !strings.HasPrefix(lines[0], "- ") {
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
	origins(b, a.From, place)
}

func origins(b *strings.Builder, from []layout.Origin, place Place) {
	for _, o := range from {
		what, note := o.Job, ""
		switch {
		case o.Attached:
			note = " in a project's pipeline"
		case o.Object != "":
			what = strings.TrimSpace(strings.ReplaceAll(o.Object, "-", " ") + " " + o.Job)
		}
		if o.Overridden {
			note += " (overridden)"
		}
		fmt.Fprintf(b, "      from %s at %s%s\n", what, place(o.Source, o.Line), note)
	}
}

// Lines is a value as text: one line, or one for each entry of a list or dictionary.
func Lines(v any) []string {
	switch v := v.(type) {
	case string:
		if v != "" && !strings.ContainsAny(v, "\n\"") && strings.TrimSpace(v) == v {
			return []string{v}
		}
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = "- " + s
		}
		return orNone(out)
	case job.Nodeset:
		return nodeset(v)
	case []job.Nodeset:
		var out []string
		for i, n := range v {
			for k, l := range nodeset(n) {
				lead := fmt.Sprintf("- %d: ", i+1)
				if k > 0 {
					lead = strings.Repeat(" ", len(lead))
				}
				out = append(out, lead+l)
			}
		}
		return orNone(out)
	case []job.Semaphore:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = "- " + s.Name
			if s.ResourcesFirst {
				out[i] += " (resources first)"
			}
		}
		return orNone(out)
	case []job.IncludeVars:
		out := make([]string, len(v))
		for i, x := range v {
			out[i] = "- " + x.Path
			switch {
			case x.ZuulProject:
				out[i] += " of the change's project"
			case x.Project.Name != "":
				out[i] += " of " + x.Project.Name
			}
			if !x.Required {
				out[i] += " (optional)"
			}
		}
		return orNone(out)
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

// nodeset is "name: host (label), host (label)", and a line for each group.
func nodeset(n job.Nodeset) []string {
	hosts := make([]string, len(n.Nodes))
	for i, d := range n.Nodes {
		hosts[i] = strings.Join(d.Names, "=") + " (" + d.Label + ")"
	}
	line := strings.Join(hosts, ", ")
	if line == "" {
		line = "no nodes"
	}
	if n.Name != "" {
		line = n.Name + ": " + line
	}
	out := []string{line}
	for _, g := range n.Groups {
		out = append(out, "group "+g.Name+": "+strings.Join(g.Nodes, ", "))
	}
	return out
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

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(redacted(v)); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// redacted is plain data without what is in secrets.
func redacted(v any) any {
	b, err := json.Marshal(v)
	var out any
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&out)
	}
	if err != nil {
		return v
	}
	redact(out)
	return out
}

func redact(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			redact(e)
		}
	case map[string]any:
		if secrets, ok := v["secrets"].([]any); ok {
			for _, s := range secrets {
				if m, ok := s.(map[string]any); ok && m["owner"] != nil {
					delete(m, "data")
				}
			}
		}
		for _, e := range v {
			redact(e)
		}
	}
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
