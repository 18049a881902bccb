package pipeline

import (
	"maps"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// fileComments are the remarks on the change's lines: those that builds returned, and the problems of
// its configuration. Remarks on files that the change does not touch cannot be placed; they become
// warnings.
func (st *stepper) fileComments(it *Item, c *change.Change) (out []change.FileComment, warnings []string) {
	files := st.files(it, c)
	add := func(path string, fc change.FileComment) {
		if files != nil && !slices.Contains(files, path) && path != "/COMMIT_MSG" {
			if w := "Comments left for invalid file " + path; !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
			return
		}
		fc.Path = path
		out = append(out, fc)
	}
	if g := it.Buildset.Graph; g != nil {
		for _, j := range g.Jobs {
			b := it.Buildset.Jobs[j.ID].Build
			if b == nil || (len(j.Refs) > 0 && !slices.Contains(j.Refs, c.Key())) {
				continue
			}
			zuul, _ := b.Data["zuul"].(map[string]any)
			byFile, _ := zuul["file_comments"].(map[string]any)
			for _, path := range slices.Sorted(maps.Keys(byFile)) {
				list, _ := byFile[path].([]any)
				for _, x := range list {
					if m, ok := x.(map[string]any); ok {
						add(path, fileComment(m))
					}
				}
			}
		}
	}
	for _, p := range it.Buildset.Problems {
		if p.Path == "" || p.Project != c.Project.Canonical() || p.Branch != c.Branch ||
			(files != nil && !slices.Contains(files, p.Path)) {
			continue
		}
		add(p.Path, change.FileComment{Line: p.Line, EndLine: p.EndLine, Message: p.Text, Level: "error"})
	}
	return out, warnings
}

func fileComment(m map[string]any) change.FileComment {
	fc := change.FileComment{Line: number(m["line"])}
	fc.Message, _ = m["message"].(string)
	fc.Level, _ = m["level"].(string)
	if r, ok := m["range"].(map[string]any); ok {
		fc.StartLine, fc.StartChar = number(r["start_line"]), number(r["start_character"])
		fc.EndLine, fc.EndChar = number(r["end_line"]), number(r["end_character"])
	}
	return fc
}

// number reads a number as JSON or YAML readers leave it.
func number(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case int:
		return v
	case int64:
		return int(v)
	}
	return 0
}
