package git_test

import (
	"strings"
	"testing"
)

func TestMapLines(t *testing.T) {
	h := newHistory(t)
	lines := func(words ...string) string { return strings.Join(words, "\n") + "\n" }
	merged := h.commit("merged", map[string]string{"f": lines("new1", "new2", "a", "b", "c", "changed", "e", "f"), "only": "x\n", "odd [name]": "1\n"})
	change := h.commit("change", map[string]string{"f": lines("a", "b", "gone", "c", "d", "e", "f"), "odd [name]": "0\n1\n"})
	m, err := h.MapLines(t.Context(), merged, change, "f")
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[int]int{1: 0, 2: 0, 3: 1, 4: 2, 5: 4, 6: 0, 7: 6, 8: 7} {
		got, ok := m.Line(from)
		if ok != (want > 0) || got != want {
			t.Errorf("line %d: %d %t, want %d", from, got, ok, want)
		}
	}
	if m, err := h.MapLines(t.Context(), merged, change, "odd [name]"); err != nil {
		t.Error(err)
	} else if got, ok := m.Line(1); got != 2 || !ok {
		t.Errorf("line 1: %d %t", got, ok)
	}
	if _, err := h.MapLines(t.Context(), merged, change, "only"); err == nil {
		t.Error("a file that the other commit lacks has lines there")
	}
}
