package git

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// LineMap tells where the lines of a file in one commit are in another.
type LineMap struct{ hunks []hunk }

// hunk is a run of lines that differ: n lines from at on became m lines from to on (1-based).
type hunk struct{ at, n, to, m int }

// MapLines compares a file in two commits. A file that either lacks gives an error.
func (r *Repo) MapLines(ctx context.Context, from, to, path string) (LineMap, error) {
	if err := checkIDs(from, to); err != nil {
		return LineMap{}, err
	}
	for _, c := range []string{from, to} {
		if _, err := r.ReadFile(ctx, c, path); err != nil {
			return LineMap{}, err
		}
	}
	w := &limited{left: 16 << 20}
	_, err := r.run(ctx, command{
		args: []string{"diff-tree", "-r", "-p", "-U0", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--end-of-options", from, to,
			"--", ":(literal)" + path},
		stdout: w,
	})
	if err != nil {
		return LineMap{}, err
	}
	var m LineMap
	for line := range strings.Lines(w.b.String()) {
		if !strings.HasPrefix(line, "@@ -") {
			continue
		}
		h, err := parseHunk(line)
		if err != nil {
			return LineMap{}, fmt.Errorf("read the differences of %s between %s and %s: %w", path, from, to, err)
		}
		m.hunks = append(m.hunks, h)
	}
	return m, nil
}

// parseHunk reads a heading "@@ -at,n +to,m @@"; a count that is left out is 1.
func parseHunk(line string) (h hunk, err error) {
	f := strings.Fields(line)
	if len(f) < 3 || !strings.HasPrefix(f[1], "-") || !strings.HasPrefix(f[2], "+") {
		return h, fmt.Errorf("%q is no heading of a hunk", strings.TrimSpace(line))
	}
	side := func(s string) (at, n int) {
		first, count, counted := strings.Cut(s[1:], ",")
		n = 1
		if at, err = strconv.Atoi(first); err == nil && counted {
			n, err = strconv.Atoi(count)
		}
		return at, n
	}
	h.at, h.n = side(f[1])
	if err != nil {
		return h, err
	}
	h.to, h.m = side(f[2])
	return h, err
}

// Line is where a line (1-based) went; false where it is not in the other commit.
func (m LineMap) Line(n int) (int, bool) {
	shift := 0
	for _, h := range m.hunks {
		// A hunk of no lines stands after the line that it names.
		first := h.at
		if h.n == 0 {
			first++
		}
		switch {
		case n < first:
			return n + shift, true
		case n < first+h.n:
			return 0, false
		}
		shift += h.m - h.n
	}
	return n + shift, true
}
