package deps

import (
	"fmt"
	"slices"
	"strings"
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
				if err := w.member(p, m, "semaphores", item{name: name}, e); err != nil {
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
	soft := !slices.Contains(w.Setup(), e.First)
	if err := w.member(p, m, "dependencies", item{e.First, soft}, e); err != nil {
		return err
	}
	// Later edges must not close a cycle with this one.
	m.After = append(slices.Clone(m.After), Dependency{e.First, true})
	return nil
}

// member adds one item to a list of a job in a pipeline.
func (w *encoder) member(p *Pipeline, m *Member, key string, add item, e Edge) error {
	id := fmt.Sprint(m.At, m.Job, key, add)
	if w.added[id] {
		return nil
	}
	w.added[id] = true
	text, err := w.text(m.At.File)
	if err != nil {
		return err
	}
	changed, err := insert(text, p.Name, m.Job, key, add)
	if err != nil {
		w.out.ByHand = append(w.out.ByHand, fmt.Sprintf("%s: %s of %s: %s (%s)", m.At, key, m.Job, err, e.Text))
		return nil
	}
	w.out.Files[m.At.File] = changed
	return nil
}
