package report

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
)

// split takes what a finding says apart: what is wrong, and why, where an edge says that. Names of jobs are whole in the
// first, and as in pictures in the second.
func split(a *deps.Analysis, f deps.Finding) (what, why string) {
	if len(f.Edges) == 0 {
		return f.Text, ""
	}
	e := f.Edges[0]
	what, ok := strings.CutSuffix(f.Text, ": "+e.Text)
	if !ok {
		return f.Text, ""
	}
	return what, brief(a, e)
}

// brief is what an edge says, with the names of its jobs as in pictures.
func brief(a *deps.Analysis, e deps.Edge) string {
	text := e.Text
	for _, job := range []string{e.First, e.Then} {
		if short := a.Short(job); short != job {
			text = regexp.MustCompile(`(^|[\s(])`+regexp.QuoteMeta(job)+`($|[\s,;:)])`).ReplaceAllString(text, "${1}"+strings.ReplaceAll(short, "$", "$$")+"${2}")
		}
	}
	return text
}

// where says on what the jobs of an audit work.
func where(a *deps.Analysis) string {
	if len(a.Hosts) == 0 {
		return "on no host of an inventory"
	}
	return "on " + count(len(a.Hosts), "host")
}

// alike gathers pipelines whose pictures are the same.
func alike(a *deps.Analysis, names []string) (out []drawn) {
	for _, name := range names {
		svg := strings.TrimSpace(Graph(a, a.Pipeline(name), nil))
		body := strings.ReplaceAll(svg, "The jobs of "+name, "")
		if i := slices.IndexFunc(out, func(d drawn) bool { return d.body == body }); i >= 0 {
			out[i].names = append(out[i].names, name)
			continue
		}
		out = append(out, drawn{SVG: trusted(svg), body: body, names: []string{name}})
	}
	for i := range out {
		out[i].Name = join(out[i].names)
	}
	return out
}
