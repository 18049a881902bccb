package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Conflict says why two commits cannot be merged. It is data, not an error: whoever proposed the
// change must do something about it.
type Conflict struct {
	// Files are the paths in conflict, by name.
	Files []string
	// Reason is set where no file is to blame.
	Reason string
	// Commit is the commit that could not be applied, of a cherry-pick or rebase.
	Commit string
}

func (c *Conflict) String() string {
	if c.Reason != "" {
		return c.Reason
	}
	return "conflict in " + strings.Join(c.Files, ", ")
}

// TreeMerge is the merge of two commits' trees.
type TreeMerge struct {
	// Tree is the merged tree; where there is a Conflict it holds conflict markers.
	Tree     string
	Conflict *Conflict
}

// TreeOptions adjust MergeTree.
type TreeOptions struct {
	// Base, where set, is taken for the common ancestor; otherwise git finds it.
	Base string
}

// unrelated is the beginning of git's words for commits without common history.
const unrelated = "refusing to merge unrelated histories"

// MergeTree merges the trees of two commits, without a work tree and without a commit.
func (r *Repo) MergeTree(ctx context.Context, ours, theirs string, o TreeOptions) (TreeMerge, error) {
	for _, id := range []string{ours, theirs} {
		if err := checkID("commit", id); err != nil {
			return TreeMerge{}, err
		}
	}
	if o.Base != "" {
		var err error
		if ours, theirs, err = r.rebased(ctx, ours, theirs, o.Base); err != nil {
			return TreeMerge{}, err
		}
	}
	m, err := r.mergeOnce(ctx, ours, theirs)
	if err != nil {
		return TreeMerge{}, fmt.Errorf("merge %s into %s in %s: %w", theirs, ours, r.cfg.Dir, err)
	}
	return m, nil
}

// rebased gives two commits with the trees of ours and theirs that have base as their only common
// ancestor: git merge-tree takes no base before 2.40.
func (r *Repo) rebased(ctx context.Context, ours, theirs, base string) (string, string, error) {
	var out [2]string
	for i, c := range []string{ours, theirs} {
		tree, err := r.Tree(ctx, c)
		if err != nil {
			return "", "", err
		}
		// The side must be in the commit, or equal trees would make one commit: their own base.
		side := Signature{Name: [2]string{"ours", "theirs"}[i], Email: "merge@gozer.invalid"}
		out[i], err = r.CommitTree(ctx, Commit{Tree: tree, Parents: []string{base}, Author: side, Committer: side, Message: c})
		if err != nil {
			return "", "", err
		}
	}
	return out[0], out[1], nil
}

// mergeOnce asks git for one merge. Its batch mode is of no use here: it does not flush its answers
// before its input ends.
func (r *Repo) mergeOnce(ctx context.Context, ours, theirs string) (TreeMerge, error) {
	out, err := r.run(ctx, command{
		args: []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--end-of-options", ours, theirs},
	})
	if err != nil && exitCode(err) != 1 {
		var e *Error
		if errors.As(err, &e) && strings.Contains(e.Stderr, unrelated) {
			return TreeMerge{Conflict: &Conflict{Reason: "the change has no history in common with its branch"}}, nil
		}
		return TreeMerge{}, err
	}
	fields := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	if !IsID(fields[0]) {
		return TreeMerge{}, fmt.Errorf("git merge-tree answered %q", out)
	}
	m := TreeMerge{Tree: fields[0]}
	if err != nil {
		m.Conflict = &Conflict{Files: unique(fields[1:])}
	}
	return m, nil
}

func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
