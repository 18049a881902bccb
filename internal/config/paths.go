package config

import (
	"slices"
	"strings"
)

// roots are the places where a project's configuration is looked for, the first that has any winning.
// Those with a slash at the end are folders.
var roots = []string{"zuul.yaml", "zuul.d/", ".zuul.yaml", ".zuul.d/"}

// ignoreFile hides the folder that it is in, and every path that begins with that folder's name.
const ignoreFile = ".zuul.ignore"

// Paths are the paths whose change alters the configuration of a project (a slash at the end: all
// below); empty where no configuration is read from it.
func (p *TenantProject) Paths() []string {
	if len(p.Classes) == 0 {
		return nil
	}
	return append(slices.Clone(roots), p.ExtraConfigPaths...)
}

// SelectFiles is Select for files by path. An empty file is as good as none: another place may have the configuration.
func SelectFiles[T ~string | ~[]byte](text map[string]T, extra []string) (files, ignored []string) {
	there := make([]string, 0, len(text))
	for path, t := range text {
		if len(t) > 0 || Ignores(path) {
			there = append(there, path)
		}
	}
	return Select(there, extra)
}

// Select chooses, among all paths of a tree, the files of configuration in the order in which they are
// loaded. Ignored names roots that have files too, but come after the one that counts: the caller
// hands it to layout, which warns.
func Select(tree, extra []string) (files, ignored []string) {
	sorted := slices.Sorted(slices.Values(tree))
	hidden := hiddenPrefixes(sorted)
	for _, root := range roots {
		found := under(sorted, root, hidden)
		switch {
		case len(found) == 0:
		case files == nil:
			files = found
		default:
			ignored = append(ignored, root)
		}
	}
	for _, path := range extra {
		for _, f := range under(sorted, path, hidden) {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, ignored
}

// under lists the files of a root: itself, or the .yaml files below it.
func under(sorted []string, root string, hidden []string) []string {
	if !strings.HasSuffix(root, "/") {
		if _, ok := slices.BinarySearch(sorted, root); ok {
			return []string{root}
		}
		return nil
	}
	var out []string
	i, _ := slices.BinarySearch(sorted, root)
	for ; i < len(sorted) && strings.HasPrefix(sorted[i], root); i++ {
		path := sorted[i]
		skip := slices.ContainsFunc(hidden, func(h string) bool { return strings.HasPrefix(path, h) })
		if strings.HasSuffix(path, ".yaml") && !skip {
			out = append(out, path)
		}
	}
	return out
}

// Ignores tells whether a path is a file that hides a folder: its being there counts, not what is in it.
func Ignores(path string) bool { return strings.HasSuffix(path, "/"+ignoreFile) }

// hiddenPrefixes are the folders with an ignore file. They hide by prefix, as Zuul does, so zuul.d/foo
// hides zuul.d/foobar.yaml too.
func hiddenPrefixes(sorted []string) []string {
	var out []string
	for _, p := range sorted {
		if dir, ok := strings.CutSuffix(p, "/"+ignoreFile); ok && strings.Contains(dir, "/") {
			out = append(out, dir)
		}
	}
	return out
}
