package layout

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
)

func put[T any](to *T, s config.Setting[T]) {
	if s.Set {
		*to = s.Value
	}
}

func seconds(to *time.Duration, s config.Setting[int]) {
	if s.Set {
		*to = time.Duration(s.Value) * time.Second
	}
}

func patterns(old []change.Pattern, s config.Setting[[]change.Pattern]) []change.Pattern {
	if !s.Set {
		return old
	}
	if s.Mode != config.Inherit {
		return s.Value
	}
	out := slices.Clone(old)
	for _, p := range s.Value {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// unionOf joins sets of strings, sorted, or replaces the old one.
func unionOf(old []string, s config.Setting[[]string], def config.Mode) []string {
	if !s.Set {
		return old
	}
	if cmp.Or(s.Mode, def) == config.Override {
		old = nil
	}
	out := slices.Concat(old, s.Value)
	slices.Sort(out)
	return slices.Compact(out)
}

// combine merges variables deeply, or replaces them.
func combine(old map[string]any, s config.Setting[map[string]any]) map[string]any {
	if !s.Set {
		return old
	}
	if s.Mode == config.Override {
		return s.Value
	}
	return deepMerge(old, s.Value)
}

func combineOf(old map[string]map[string]any, s config.Setting[map[string]map[string]any]) map[string]map[string]any {
	if !s.Set {
		return old
	}
	if s.Mode == config.Override {
		return s.Value
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[string]map[string]any{}
	}
	for host, vars := range s.Value {
		out[host] = deepMerge(out[host], vars)
	}
	return out
}

// deepMerge is b over a, dictionaries merged key by key. Neither is changed; the result may share
// parts with both.
func deepMerge(a, b map[string]any) map[string]any {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	for k, v := range b {
		if inner, ok := v.(map[string]any); ok {
			if old, ok := out[k].(map[string]any); ok {
				out[k] = deepMerge(old, inner)
				continue
			}
		}
		out[k] = v
	}
	return out
}
