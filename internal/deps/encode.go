package deps

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Encoding is what it takes to put enforced edges into the Zuul configuration.
type Encoding struct {
	// Files has the new text of the files that change; one that was not there is new.
	Files map[string]string
	// ByHand are edges that could not be written, and why.
	ByHand []string
}

// Encode writes the enforced edges that pipelines lack as dependencies and semaphores into the text of
// their files, which read gives. Dependencies are soft, as a job that a change does not touch is not run
// for it. What is there stays as it is written.
func (a *Analysis) Encode(pipelines []*Pipeline, read func(file string) (string, error)) (*Encoding, error) {
	w := &encoder{Analysis: a, read: read, out: &Encoding{Files: map[string]string{}}, added: map[string]bool{}}
	for _, p := range pipelines {
		for _, e := range a.Lacking(p) {
			if err := w.edge(p, e); err != nil {
				return nil, err
			}
		}
	}
	if len(w.semaphores) > 0 {
		var b strings.Builder
		for _, name := range w.semaphores {
			fmt.Fprintf(&b, "- semaphore:\n    name: %s\n    max: 1\n\n", name)
		}
		file := w.semaphoreFile()
		old, err := w.text(file)
		if err != nil {
			return nil, err
		}
		if old != "" {
			old = strings.TrimRight(old, "\n") + "\n\n"
		}
		w.out.Files[file] = old + strings.TrimRight(b.String(), "\n") + "\n"
	}
	return w.out, nil
}

type encoder struct {
	*Analysis
	read       func(string) (string, error)
	out        *Encoding
	semaphores []string
	added      map[string]bool
}

func (w *encoder) text(file string) (string, error) {
	if t, ok := w.out.Files[file]; ok {
		return t, nil
	}
	return w.read(file)
}

// semaphoreFile is where semaphores go: beside the others of the configuration.
func (w *encoder) semaphoreFile() string {
	for _, f := range w.Files {
		if dir, _, ok := strings.Cut(f, "/"); ok && (dir == "zuul.d" || dir == ".zuul.d") {
			return dir + "/semaphores.yaml"
		}
	}
	for _, f := range w.Files {
		if f == "zuul.yaml" || f == ".zuul.yaml" {
			return f
		}
	}
	return "zuul.d/semaphores.yaml"
}

func (w *encoder) edge(p *Pipeline, e Edge) error {
	if e.Kind == Mutex {
		name := mutexName(e.Resource)
		if w.Semaphores[name] == 0 && !slices.Contains(w.semaphores, name) {
			w.semaphores = append(w.semaphores, name)
		}
		for _, job := range []string{e.First, e.Then} {
			if m := p.Member(job); !slices.Contains(m.Semaphores, name) {
				if err := w.member(p, m, "semaphores", []string{"- " + name}, e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if p.Before(e.Then, e.First) {
		w.out.ByHand = append(w.out.ByHand, fmt.Sprintf("%s: %s waits for %s now, and evidence says the other way round: %s", p.Name, e.First, e.Then, e.Text))
		return nil
	}
	m := p.Member(e.Then)
	lines := []string{"- name: " + e.First, "  soft: true"}
	if slices.Contains(w.Setup(), e.First) {
		lines = []string{"- " + e.First}
	}
	if err := w.member(p, m, "dependencies", lines, e); err != nil {
		return err
	}
	// Later edges must not close a cycle with this one.
	m.After = append(slices.Clone(m.After), Dependency{e.First, true})
	return nil
}

// member adds entries to a list of a job in a pipeline.
func (w *encoder) member(p *Pipeline, m *Member, key string, entries []string, e Edge) error {
	id := fmt.Sprint(m.At, m.Job, key, entries)
	if w.added[id] {
		return nil
	}
	w.added[id] = true
	text, err := w.text(m.At.File)
	if err != nil {
		return err
	}
	changed, err := insert(text, p.Name, m.Job, key, entries)
	if err != nil {
		w.out.ByHand = append(w.out.ByHand, fmt.Sprintf("%s: %s of %s: %s (%s)", m.At, key, m.Job, err, e.Text))
		return nil
	}
	w.out.Files[m.At.File] = changed
	return nil
}

// insert adds entries to the list key of a job in a pipeline of a project or project-template, line by
// line, so that comments and the rest stay as they are.
func insert(text, pipeline, job, key string, entries []string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return "", err
	}
	lines := strings.Split(text, "\n")
	at := entryOf(&doc, pipeline, job)
	if at == nil {
		return "", fmt.Errorf("its entry is not where it was expected")
	}
	put := func(after, indent int, list []string) string {
		var out []string
		for _, l := range list {
			out = append(out, strings.Repeat(" ", indent)+l)
		}
		return strings.Join(slices.Insert(slices.Clone(lines), after, out...), "\n")
	}
	inner := func(n int) []string {
		out := []string{key + ":"}
		for _, e := range entries {
			out = append(out, strings.Repeat(" ", n)+e)
		}
		return out
	}
	if at.Kind == yaml.ScalarNode {
		// - job becomes a dictionary.
		line := lines[at.Line-1]
		name := line[at.Column-1:]
		comment := ""
		if before, after, ok := strings.Cut(name, " #"); ok {
			name, comment = before, " #"+after
		}
		lines[at.Line-1] = line[:at.Column-1] + strings.TrimRight(name, " ") + ":" + comment
		return put(at.Line, at.Column-1+2, inner(2)), nil
	}
	body := at.Content[1]
	if body.Kind == yaml.ScalarNode {
		return put(at.Line, at.Column-1+2, inner(2)), nil
	}
	if body.Style&yaml.FlowStyle != 0 {
		return "", fmt.Errorf("it is written in braces")
	}
	for i := 0; i+1 < len(body.Content); i += 2 {
		if body.Content[i].Value != key {
			continue
		}
		v := body.Content[i+1]
		if v.Kind == yaml.SequenceNode && v.Style&yaml.FlowStyle == 0 && len(v.Content) > 0 {
			return put(end(v), v.Column-1, entries), nil
		}
		return "", fmt.Errorf("its list is written in one line")
	}
	return put(end(body), body.Column-1, inner(2)), nil
}

// entryOf finds the entry of a job in a pipeline: a scalar, or a dictionary with one key.
func entryOf(doc *yaml.Node, pipeline, job string) *yaml.Node {
	if len(doc.Content) == 0 {
		return nil
	}
	for _, object := range doc.Content[0].Content {
		for _, kind := range []string{"project", "project-template"} {
			jobs := value(value(value(object, kind), pipeline), "jobs")
			if jobs == nil {
				continue
			}
			for _, e := range jobs.Content {
				if e.Kind == yaml.ScalarNode && e.Value == job || e.Kind == yaml.MappingNode && len(e.Content) == 2 && e.Content[0].Value == job {
					return e
				}
			}
		}
	}
	return nil
}

func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// end is the last line of a node.
func end(n *yaml.Node) int {
	last := n.Line
	if n.Kind == yaml.ScalarNode && (n.Style == yaml.LiteralStyle || n.Style == yaml.FoldedStyle) {
		last += strings.Count(n.Value, "\n")
	}
	for _, c := range n.Content {
		last = max(last, end(c))
	}
	return last
}
