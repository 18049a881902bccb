package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Mode is how a change is brought onto a branch, in the words of the configuration language.
type Mode string

// The merge modes. Each is a function of its inputs: equal inputs give equal commit ids.
const (
	// Merge makes a merge commit, with detection of renames.
	Merge Mode = "merge"
	// MergeResolve is Merge: git merges without a work tree by its strategy ort alone. Unlike git's
	// strategy resolve it follows renames, so it merges some changes that resolve would refuse.
	MergeResolve Mode = "merge-resolve"
	// CherryPick applies the change's last commit to the base; of a merge commit it makes a merge.
	CherryPick Mode = "cherry-pick"
	// SquashMerge makes one commit of the whole change.
	SquashMerge Mode = "squash-merge"
	// Rebase applies each commit of the change that the base lacks, but no merge commits.
	Rebase Mode = "rebase"
)

// Modes lists the merge modes that there are.
func Modes() []Mode { return []Mode{Merge, MergeResolve, CherryPick, SquashMerge, Rebase} }

// MergeRequest asks for one merge.
type MergeRequest struct {
	// Mode is Merge where it is empty.
	Mode Mode
	// Base is the commit to merge onto, Change the commit to bring there.
	Base, Change string
	// Message is the text of the new commit of Merge, MergeResolve and SquashMerge. The other modes
	// keep each commit's own.
	Message string
	// By is the author and committer of a merge. CherryPick, SquashMerge and Rebase keep the
	// change's author; By is their committer.
	By Signature
}

// MergeResult is what came of a merge.
type MergeResult struct {
	// Commit is the merged commit. It is Base where the change is already in it.
	Commit, Tree string
	// Conflict is set where the merge is not possible; then there is no Commit.
	Conflict *Conflict
}

// Merge carries out req on objects alone: no ref changes.
func (r *Repo) Merge(ctx context.Context, req MergeRequest) (MergeResult, error) {
	if err := errors.Join(checkID("base", req.Base), checkID("change", req.Change)); err != nil {
		return MergeResult{}, err
	}
	switch req.Mode {
	case "", Merge, MergeResolve:
		return r.merge(ctx, req, []string{req.Base, req.Change}, req.By)
	case SquashMerge:
		c, err := r.ReadCommit(ctx, req.Change)
		if err != nil {
			return MergeResult{}, err
		}
		return r.merge(ctx, req, []string{req.Base}, c.Author)
	case CherryPick:
		c, err := r.ReadCommit(ctx, req.Change)
		if err != nil {
			return MergeResult{}, err
		}
		if len(c.Parents) > 1 {
			return r.merge(ctx, req, []string{req.Base, req.Change}, req.By)
		}
		return r.pick(ctx, req.Base, c, req.By)
	case Rebase:
		return r.rebase(ctx, req)
	}
	return MergeResult{}, fmt.Errorf("merge mode %q: there are %v", req.Mode, Modes())
}

// merge makes one commit with the merged tree.
func (r *Repo) merge(ctx context.Context, req MergeRequest, parents []string, author Signature) (MergeResult, error) {
	m, err := r.MergeTree(ctx, req.Base, req.Change, TreeOptions{})
	if err != nil || m.Conflict != nil {
		return MergeResult{Conflict: m.Conflict}, err
	}
	base, err := r.Tree(ctx, req.Base)
	if err != nil {
		return MergeResult{}, err
	}
	if m.Tree == base {
		// Nothing new: either the change is in the base already, or it is an empty one.
		in, err := r.IsAncestor(ctx, req.Change, req.Base)
		if err != nil || in {
			return MergeResult{Commit: req.Base, Tree: base}, err
		}
	}
	id, err := r.CommitTree(ctx, Commit{Tree: m.Tree, Parents: parents, Author: author, Committer: req.By, Message: req.Message})
	return MergeResult{Commit: id, Tree: m.Tree}, err
}

// pick applies c, which has at most one parent, to base. A commit that changes nothing there any
// more disappears, unless it was empty from the start.
func (r *Repo) pick(ctx context.Context, base string, c *Commit, by Signature) (MergeResult, error) {
	if len(c.Parents) == 0 {
		return MergeResult{Conflict: &Conflict{Commit: c.ID, Reason: "the change has no history in common with its branch"}}, nil
	}
	m, err := r.MergeTree(ctx, base, c.ID, TreeOptions{Base: c.Parents[0]})
	if err != nil {
		return MergeResult{}, err
	}
	if m.Conflict != nil {
		m.Conflict.Commit = c.ID
		return MergeResult{Conflict: m.Conflict}, nil
	}
	tree, err := r.Tree(ctx, base)
	if err != nil {
		return MergeResult{}, err
	}
	if m.Tree == tree {
		was, err := r.Tree(ctx, c.Parents[0])
		if err != nil || was != c.Tree {
			return MergeResult{Commit: base, Tree: tree}, err
		}
	}
	id, err := r.CommitTree(ctx, Commit{Tree: m.Tree, Parents: []string{base}, Author: c.Author, Committer: by, Message: c.Message})
	return MergeResult{Commit: id, Tree: m.Tree}, err
}

// maxRebase bounds the commits of one rebase: more are a branch without relation to the base.
const maxRebase = 1000

func (r *Repo) rebase(ctx context.Context, req MergeRequest) (MergeResult, error) {
	commits, err := r.Log(ctx, LogOptions{From: []string{req.Change}, Without: []string{req.Base}, Limit: maxRebase + 1})
	if err != nil {
		return MergeResult{}, err
	}
	if len(commits) > maxRebase {
		return MergeResult{Conflict: &Conflict{Reason: fmt.Sprintf("more than %d commits would have to be rebased", maxRebase)}}, nil
	}
	in, err := r.IsAncestor(ctx, req.Base, req.Change)
	if err != nil {
		return MergeResult{}, err
	}
	merges := slices.ContainsFunc(commits, func(c Commit) bool { return len(c.Parents) > 1 })
	at := req.Base
	if in && !merges {
		at = req.Change // it is on top of the base already
		commits = nil
	}
	for i := range commits {
		if len(commits[i].Parents) > 1 {
			continue
		}
		res, err := r.pick(ctx, at, &commits[i], req.By)
		if err != nil || res.Conflict != nil {
			return res, err
		}
		at = res.Commit
	}
	tree, err := r.Tree(ctx, at)
	return MergeResult{Commit: at, Tree: tree}, err
}
