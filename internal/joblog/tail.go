package joblog

import (
	"slices"
	"strings"
)

// tail is the newest lines of a log that grows, in memory: whoever follows it reads them once for all.
type tail struct {
	lines []string
	bytes int
}

// Bounds of a tail; it is cut to half when it has more.
const (
	tailLines = 1024
	tailBytes = 1 << 20
)

func (t *tail) push(line string) {
	t.lines = append(t.lines, strings.TrimSuffix(line, "\n"))
	t.bytes += len(line)
	if len(t.lines) <= tailLines && t.bytes <= tailBytes {
		return
	}
	from := len(t.lines) / 2
	t.lines, t.bytes = slices.Clone(t.lines[from:]), 0 // readers have the old one
	for _, l := range t.lines {
		t.bytes += len(l)
	}
}

// recent gives at most n lines from line from on, if they are among the newest: at least one, and then no
// more than room bytes. nil where they are not.
func (w *Writer) recent(from, n, room int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.index.Lines - len(w.tail.lines)
	if from < first || from >= w.index.Lines {
		return nil
	}
	all := w.tail.lines[from-first:]
	all = all[:min(n, len(all)):min(n, len(all))]
	for k, l := range all {
		if room -= len(l); room < 0 && k > 0 {
			return all[:k:k]
		}
	}
	return all
}
