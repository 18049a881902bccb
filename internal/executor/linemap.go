package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/git"
)

// mapComments turns the lines of file comments, which are those of the merged tree that the job saw, into
// lines of the change as it was proposed. A comment on a line that the change does not have stays as it
// is, with a warning.
func (b *build) mapComments(ctx context.Context, zuul object) (warnings []string) {
	files, _ := zuul["file_comments"].(object)
	if off, _ := zuul["disable_file_comment_line_mapping"].(bool); off || len(files) == 0 || !b.primary.IsChange() {
		return nil
	}
	_, merged, ok := b.spec[b.primary.Project.Canonical()].find(b.primary.Branch)
	if !ok || b.primary.Commit == "" || merged == b.primary.Commit {
		return nil
	}
	repo, err := b.x.views.repo(ctx, b.primary.Project, merged, b.primary.Commit)
	if err != nil {
		return []string{"The lines of file comments could not be mapped to the change: " + err.Error()}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		list, _ := files[path].([]any)
		if strings.HasPrefix(path, "/") || len(list) == 0 {
			continue
		}
		m, err := repo.MapLines(ctx, merged, b.primary.Commit, path)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("The lines of comments on %s could not be mapped to the change", path))
			continue
		}
		for _, c := range list {
			if c, ok := c.(object); ok && !mapComment(c, m) {
				warnings = append(warnings, fmt.Sprintf("A comment on line %v of %s is on a line that the change does not have", c["line"], path))
			}
		}
	}
	return warnings
}

// mapComment maps one comment and its range; false where a line of it is not there, and then nothing is
// changed.
func mapComment(c object, m git.LineMap) bool {
	lines, ok := c["range"].(object)
	if !ok {
		lines = object{}
	}
	type place struct {
		in   object
		name string
		to   int
	}
	var to []place
	for _, p := range []place{{in: c, name: "line"}, {in: lines, name: "start_line"}, {in: lines, name: "end_line"}} {
		n, ok := number(p.in[p.name])
		if !ok {
			continue
		}
		if p.to, ok = m.Line(n); !ok {
			return false
		}
		to = append(to, p)
	}
	for _, p := range to {
		p.in[p.name] = p.to
	}
	return true
}

func number(v any) (int, bool) {
	switch v := v.(type) {
	case float64:
		return int(v), true
	case json.Number:
		n, err := v.Int64()
		return int(n), err == nil
	case int:
		return v, true
	}
	return 0, false
}
