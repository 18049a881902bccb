package read

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// History are the last commits of a checkout's first parents, newest first, with the files that each
// changed, relative to path: those since a revision (not included), or limit of them. Those without a parent, with which
// a history or a shallow clone begins, are left out: what they changed is not known.
func History(ctx context.Context, path, since string, limit int) ([]deps.Commit, error) {
	args := []string{"-C", path, "-c", "core.quotePath=off", "log", "--first-parent", "-m", "--no-renames", "--name-only", "--relative", "-z", "--format=%x01%H%x02%P%x02%s%x02", "-n", strconv.Itoa(limit)}
	if since != "" {
		args = append(args, since+"..HEAD")
	}
	args = append(args, "--")
	out, err := git(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("read the history of %s: %w", path, err)
	}
	var list []deps.Commit
	for entry := range strings.SplitSeq(string(out), "\x01") {
		parts := strings.SplitN(entry, "\x02", 4)
		if len(parts) < 4 || parts[1] == "" {
			continue
		}
		c := deps.Commit{ID: parts[0], Subject: parts[2]}
		for f := range strings.SplitSeq(parts[3], "\x00") {
			if f = strings.Trim(f, "\n"); f != "" {
				c.Files = append(c.Files, f)
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// Shallow reports whether a checkout has only the end of its history.
func Shallow(ctx context.Context, path string) bool {
	out, err := git(ctx, "-C", path, "rev-parse", "--is-shallow-repository")
	return err == nil && strings.TrimSpace(string(out)) == "true"
}

// Changed are the files that one revision, or a range of them (A..B), changed.
func Changed(ctx context.Context, path, rev string) ([]string, error) {
	from, to := rev+"^1", rev
	if a, b, ok := strings.Cut(rev, ".."); ok {
		from, to = a, b
	}
	out, err := git(ctx, "-C", path, "-c", "core.quotePath=off", "diff", "--name-only", "--no-renames", "--relative", "-z", from, to, "--")
	if err != nil {
		return nil, fmt.Errorf("read what %s changed: %w", rev, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

func git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git: %s", firstOf(lastLine(stderr.String()), err.Error()))
	}
	return out, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Durations reads a CSV of jobs and durations: seconds, or as Go writes them (4m20s). Other columns and a
// first line of titles do not count; where a job occurs more than once its median is taken.
func Durations(r io.Reader) (map[string]time.Duration, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.Comment, in.TrimLeadingSpace = -1, '#', true
	seen := map[string][]time.Duration{}
	for n := 1; ; n++ {
		row, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the durations: %w", err)
		}
		line, _ := in.FieldPos(0)
		if len(row) < 2 {
			return nil, fmt.Errorf("line %d of the durations: a job and a duration are needed", line)
		}
		d, err := duration(row[1])
		if err != nil {
			if n == 1 {
				continue
			}
			return nil, fmt.Errorf("line %d of the durations: %q is neither seconds nor like 4m20s", line, row[1])
		}
		seen[row[0]] = append(seen[row[0]], d)
	}
	out := map[string]time.Duration{}
	for job, list := range seen {
		out[job] = timeline.Durations(list).Typical
	}
	return out, nil
}

func duration(text string) (time.Duration, error) {
	if s, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && s >= 0 {
		return time.Duration(s * float64(time.Second)), nil
	}
	return time.ParseDuration(strings.TrimSpace(text))
}
