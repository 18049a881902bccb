package config

import (
	"slices"
	"strings"
)

// Suggest is "did you mean X?" for the name among known that is nearest to word; empty where none is
// near. Known need not be sorted; of equally near names the alphabetically first is chosen.
func Suggest(word string, known []string) string {
	best, bestDist := "", 3
	if len(word) <= 3 {
		bestDist = 2
	}
	sorted := slices.Sorted(slices.Values(known))
	for _, k := range sorted {
		if strings.EqualFold(k, word) || strings.ReplaceAll(word, "_", "-") == k {
			return "did you mean " + k + "?"
		}
		if abs(len(k)-len(word)) >= bestDist {
			continue
		}
		if d := distance(word, k); d < bestDist {
			best, bestDist = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that turn a
// into b.
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
