package joblog

import (
	"context"
	"regexp"
	"strings"
)

// Query is what to look for.
type Query struct {
	// Text is found whatever its case; Pattern, where set, is looked for in its place.
	Text    string
	Pattern *regexp.Regexp
	// From is the first line that is looked at; Limit, how many hits are given.
	From, Limit int
}

// Hit is a line in which something was found.
type Hit struct {
	Line int
	Text string
}

// Search finds lines. more: there are further ones than the limit lets through.
func (r *Reader) Search(ctx context.Context, q Query) (hits []Hit, more bool, err error) {
	want := strings.ToLower(q.Text)
	i, _ := r.state()
	for from := q.From; ; {
		lines, err := r.lines(ctx, i, from, 50*batch, 4*mostFollowed)
		if err != nil || len(lines) == 0 {
			return hits, false, err
		}
		for k, l := range lines {
			if q.Pattern != nil && !q.Pattern.MatchString(l) || q.Pattern == nil && !strings.Contains(strings.ToLower(l), want) {
				continue
			}
			if len(hits) == q.Limit {
				return hits, true, nil
			}
			hits = append(hits, Hit{from + k, l})
		}
		from += len(lines)
	}
}
