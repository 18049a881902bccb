package git

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// MergeBase is the best common ancestor of two commits; ErrNotFound where there is none.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	if err := checkIDs(a, b); err != nil {
		return "", err
	}
	out, err := r.git(ctx, "merge-base", a, b)
	if exitCode(err) == 1 {
		return "", fmt.Errorf("common ancestor of %s and %s: %w", a, b, ErrNotFound)
	}
	return out, err
}

// IsAncestor tells whether commit a is b or an ancestor of it.
func (r *Repo) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	if err := checkIDs(a, b); err != nil {
		return false, err
	}
	if a == b {
		return true, nil
	}
	_, err := r.git(ctx, "merge-base", "--is-ancestor", a, b)
	if exitCode(err) == 1 {
		return false, nil
	}
	return err == nil, err
}

// ChangedFiles lists the paths that differ between two commits or trees; a renamed file is two.
func (r *Repo) ChangedFiles(ctx context.Context, a, b string) ([]string, error) {
	if err := checkIDs(a, b); err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", a, b)
	if err != nil {
		return nil, err
	}
	return fields(out), nil
}

// Diff is the difference of two commits as a patch that people can read. It ends after limit bytes.
func (r *Repo) Diff(ctx context.Context, a, b string, limit int) (string, error) {
	if err := checkIDs(a, b); err != nil {
		return "", err
	}
	w := &limited{left: limit}
	_, err := r.run(ctx, command{
		args:   []string{"diff-tree", "-r", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv", "--end-of-options", a, b},
		stdout: w,
	})
	return w.b.String(), err
}

type limited struct {
	b    strings.Builder
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// ContainingBranches lists the short names of the branches that contain commit.
func (r *Repo) ContainingBranches(ctx context.Context, commit string) ([]string, error) {
	if err := checkID("commit", commit); err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "for-each-ref", "--contains="+commit, "--format=%(refname:lstrip=2)", "refs/heads/")
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}

// LogOptions choose commits.
type LogOptions struct {
	// From are commits; they and their ancestors are listed, except what Without can reach.
	From, Without []string
	// WithoutBranches leaves out what any branch can reach.
	WithoutBranches bool
	// Limit bounds the answer to the newest commits; 0 is no bound.
	Limit int
	// Files asks for each commit's changed paths against its first parent.
	Files bool
	// Quarantine reads objects that are not accepted yet.
	Quarantine *Quarantine
}

// Log lists commits, parents before children.
func (r *Repo) Log(ctx context.Context, o LogOptions) ([]Commit, error) {
	if err := checkIDs(append(append([]string{}, o.From...), o.Without...)...); err != nil {
		return nil, err
	}
	args := []string{"log", "--reverse", "--topo-order", "-z", "--no-color", "--no-show-signature", "--encoding=UTF-8",
		"--format=%x01%H%x00%P%x00%T%x00%an <%ae> %ad%x00%cn <%ce> %cd%x00%B%x00", "--date=raw"}
	if o.Limit > 0 {
		args = append(args, "--max-count="+strconv.Itoa(o.Limit))
	}
	if o.Files {
		args = append(args, "--name-only", "--no-renames", "--diff-merges=first-parent")
	}
	args = append(args, o.From...)
	args = append(args, "--not")
	args = append(args, o.Without...)
	if o.WithoutBranches {
		args = append(args, "--branches")
	}
	c := command{args: append(args, "--")}
	if o.Quarantine != nil {
		c.env = o.Quarantine.env
	}
	out, err := r.run(ctx, c)
	if err != nil {
		return nil, err
	}
	return parseLog(string(out))
}

// parseLog reads records that begin with byte 1, have six NUL-terminated fields, and then, for
// Files, a line end and NUL-terminated paths.
func parseLog(out string) ([]Commit, error) {
	var list []Commit
	for out != "" {
		f := strings.SplitN(strings.TrimPrefix(out, "\x01"), "\x00", 7)
		if len(f) != 7 || !IsID(f[0]) {
			return nil, fmt.Errorf("git log answered %.200q", out)
		}
		c := Commit{ID: f[0], Parents: strings.Fields(f[1]), Tree: f[2], Author: parseSignature(f[3]),
			Committer: parseSignature(f[4]), Message: strings.TrimRight(f[5], "\n") + "\n"}
		out = f[6]
		var files string
		// A path cannot follow a NUL and begin with byte 1 and an object id, unless somebody made
		// it so; then git log's own output is ambiguous, and the id check above refuses it.
		if i := strings.Index("\x00"+out, "\x00\x01"); i >= 0 {
			files, out = out[:i], out[i:]
		} else {
			files, out = out, ""
		}
		if files = strings.TrimPrefix(strings.TrimLeft(files, "\x00"), "\n"); files != "" {
			c.Files = fields(files)
		}
		list = append(list, c)
	}
	return list, nil
}

// fields splits NUL-terminated text.
func fields(s string) []string {
	s = strings.TrimSuffix(s, "\x00")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x00")
}

func checkIDs(ids ...string) error {
	for _, id := range ids {
		if err := checkID("commit", id); err != nil {
			return err
		}
	}
	return nil
}
