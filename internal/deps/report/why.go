package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
)

// Reason is all that is known of two jobs.
type Reason struct {
	First string `json:"first"`
	Then  string `json:"then"`
	// Declared has the pipelines that order them, and the way there.
	Declared []Way       `json:"declared,omitempty"`
	Edges    []deps.Edge `json:"edges"`
	// Chain is the shortest way through other jobs, by enforced edges, where no edge leads directly.
	Chain []deps.Edge `json:"chain,omitempty"`
	// Unknown says what was not known of either.
	Unknown []deps.Problem `json:"unknown,omitempty"`
}

// Way is a chain of declared dependencies of a pipeline.
type Way struct {
	Pipeline string   `json:"pipeline"`
	Jobs     []string `json:"jobs"`
}

// Why collects what is known of two jobs; the names may be short.
func Why(a *deps.Analysis, x, y string) (*Reason, error) {
	first, err := a.Find(x)
	if err != nil {
		return nil, err
	}
	then, err := a.Find(y)
	if err != nil {
		return nil, err
	}
	r := &Reason{First: first, Then: then, Edges: a.Between(first, then)}
	for i := range a.Pipelines {
		p := &a.Pipelines[i]
		for _, way := range [][]string{p.Way(first, then), p.Way(then, first)} {
			if way != nil {
				r.Declared = append(r.Declared, Way{p.Name, way})
			}
		}
	}
	if !slices.ContainsFunc(r.Edges, deps.Edge.Enforced) {
		if r.Chain = a.Chain(first, then); r.Chain == nil {
			r.Chain = a.Chain(then, first)
		}
	}
	for _, u := range slices.Concat(a.Problems, a.Unknown) {
		if u.Job == first || u.Job == then {
			r.Unknown = append(r.Unknown, u)
		}
	}
	return r, nil
}

// Text writes it for people.
func (r *Reason) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s and %s\n", r.First, r.Then)
	for _, e := range r.Edges {
		evidence(&b, e)
	}
	if len(r.Edges) == 0 {
		fmt.Fprintf(&b, "\nno edge between them is known: no task of one was seen to touch what the other touches\n")
	}
	if len(r.Chain) > 0 {
		fmt.Fprintf(&b, "\nthrough other jobs\n")
		for _, e := range r.Chain {
			evidence(&b, e)
		}
	}
	b.WriteString("\n")
	for _, d := range r.Declared {
		fmt.Fprintf(&b, "declared in %s: %s\n", d.Pipeline, strings.Join(d.Jobs, ", then "))
	}
	if len(r.Declared) == 0 {
		b.WriteString("no pipeline orders them\n")
	}
	if len(r.Unknown) > 0 {
		b.WriteString("\nnot known of them, so that this may not be all\n")
		for i, u := range r.Unknown {
			if i == 10 {
				fmt.Fprintf(&b, "  and %d more\n", len(r.Unknown)-i)
				break
			}
			fmt.Fprintf(&b, "  %s: %s\n", u.Job, strings.TrimPrefix(u.At.String()+": ", "?: ")+u.Text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func evidence(b *strings.Builder, e deps.Edge) {
	verb := e.First + " before " + e.Then
	if e.Kind == deps.Mutex {
		verb = "not at once: " + e.First + ", " + e.Then
	}
	fmt.Fprintf(b, "\n%s\n  %s %s, %s confidence; at stake: %s\n", verb, e.Rule, deps.RuleOf(e.Rule).Title, e.Confidence, stakes[e.Severity])
	for _, line := range wrap(e.Text, 92) {
		fmt.Fprintf(b, "  %s\n", line)
	}
	for i, job := range []string{e.First, e.Then} {
		task := ""
		if e.At[i].Task != "" {
			task = "  (" + e.At[i].Task + ")"
		}
		fmt.Fprintf(b, "    %s: %s%s\n", job, e.At[i], task)
	}
	if len(e.Hosts) > 1 {
		fmt.Fprintf(b, "    on %s\n", some(e.Hosts, 8))
	}
}
