package local

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
)

const (
	// maxChanges bounds the changes of one push.
	maxChanges = 50
	maxMessage = 64 << 10
	// maxFiles bounds the bytes of the list of changed files that is kept with a patch set.
	maxFiles = 128 << 10
)

// pushOptions are what follows the % of refs/for/main%topic=x,wip.
type pushOptions struct {
	topic      string
	wip, ready bool
	message    string
	// ignored are words that mean nothing here (reviewers: there is nobody to tell).
	ignored []string
}

func parseOptions(words []string) (pushOptions, error) {
	var o pushOptions
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "topic", "t":
			o.topic = v
		case "wip", "work-in-progress":
			o.wip = true
		case "ready":
			o.ready = true
		case "m", "message":
			// Gerrit's encoding: + is a space, %xx a byte.
			text, err := url.QueryUnescape(v)
			if err != nil {
				text = v
			}
			o.message = text
		case "":
		case "r", "reviewer", "cc", "l", "label", "hashtag", "notify", "private", "publish-comments", "no-publish-comments":
			o.ignored = append(o.ignored, w)
		default:
			return o, refuse("push option %q is not known; there are topic=..., wip, ready, m=...", w)
		}
	}
	if o.wip && o.ready {
		return o, refuse("a change cannot be both wip and ready")
	}
	return o, nil
}

// proposal is a push to refs/for/.
type proposal struct {
	project, branch string
	repo            *git.Repo
	commit          string
	options         pushOptions
	by              identity
	quarantine      *git.Quarantine
}

// made is a change that a push made or altered.
type made struct {
	rec *Record
	ref ensure
	new bool
}

// propose makes changes and patch sets of the commits of a push.
func (f *Forge) propose(ctx context.Context, p *proposal) ([]made, error) {
	commits, err := f.proposed(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := p.quarantine.Accept(); err != nil {
		return nil, err
	}
	for range maxTries {
		out, d, err := f.plan(ctx, p, commits)
		if err != nil {
			return nil, err
		}
		ok, err := d.commit(ctx)
		if err != nil {
			return nil, fmt.Errorf("write the changes: %w", err)
		}
		if !ok {
			continue
		}
		// From here on the push has happened; a ref that is missing is written with its event.
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
		defer cancel()
		for _, m := range out {
			if err := f.ensureRef(after, m.ref); err != nil {
				f.Log.Warn("the ref of a patch set waits", "connection", f.Config.Name, "project", p.project, "error", err)
			}
		}
		f.deliver(ctx)
		return out, nil
	}
	return nil, errRace
}

// proposed lists the commits of a push that no branch has, parents first, and checks each alone.
func (f *Forge) proposed(ctx context.Context, p *proposal) ([]git.Commit, error) {
	branches, err := p.repo.Branches(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := branches[p.branch]; !ok {
		names := make([]string, 0, len(branches))
		for b := range branches {
			names = append(names, b)
		}
		slices.Sort(names)
		return nil, refuse("branch %q does not exist in %s; there are: %s", p.branch, p.project, strings.Join(names, ", "))
	}
	commits, err := p.repo.Log(ctx, git.LogOptions{From: []string{p.commit}, WithoutBranches: true, Limit: maxChanges + 1, Files: true, Quarantine: p.quarantine})
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 {
		return nil, refuse("no new changes: %s is in a branch of %s already", short(p.commit), p.project)
	}
	if len(commits) > maxChanges {
		return nil, refuse("the push has more than %d commits that are not in %s; rebase them, or push fewer", maxChanges, p.branch)
	}
	seen := map[string]string{}
	for i := range commits {
		c := &commits[i]
		id := change.ID(c.Message)
		switch {
		case id == "":
			return nil, refuse("commit %s (%s) has no Change-Id in its message: install the hook with\n"+
				"  curl -fsSo \"$(git rev-parse --git-dir)/hooks/commit-msg\" %s/tools/hooks/commit-msg && chmod +x \"$(git rev-parse --git-dir)/hooks/commit-msg\"\n"+
				"then run git commit --amend --no-edit and push again", short(c.ID), c.Subject(), f.BaseURL)
		case seen[id] != "":
			return nil, refuse("commits %s and %s have the same Change-Id; squash them, or give one a new Change-Id", short(seen[id]), short(c.ID))
		case len(c.Parents) == 0:
			return nil, refuse("commit %s has no history in common with branch %s", short(c.ID), p.branch)
		case len(c.Message) > maxMessage:
			return nil, refuse("the message of commit %s is longer than %d bytes", short(c.ID), maxMessage)
		}
		seen[id] = c.ID
	}
	return commits, nil
}

func short(id string) string { return id[:min(len(id), 10)] }

// plan makes the transaction of a push from what the records say now.
func (f *Forge) plan(ctx context.Context, p *proposal, commits []git.Commit) ([]made, *draft, error) {
	next := 1
	rev, err := f.read(ctx, f.keyNext(), &next)
	if err != nil && !errors.Is(err, forge.ErrNotFound) {
		return nil, nil, err
	}
	first := next
	d := &draft{f: f}
	var out []made
	for i := range commits {
		c := &commits[i]
		id := change.ID(c.Message)
		var n int
		var rec *Record
		var was int64
		_, err := f.read(ctx, f.keyID(p.project, p.branch, id), &n)
		switch {
		case errors.Is(err, forge.ErrNotFound):
			rec = f.newRecord(p, next, id)
			next++
			d.txn.If = append(d.txn.If, kv.Missing(f.keyID(p.project, p.branch, id)))
			d.put(f.keyID(p.project, p.branch, id), rec.Number)
		case err != nil:
			return nil, nil, err
		default:
			if rec, was, err = f.record(ctx, n); err != nil {
				return nil, nil, err
			}
			unchanged, err := f.accepts(ctx, rec, c)
			if err != nil {
				return nil, nil, err
			}
			if unchanged {
				continue
			}
		}
		f.addPatchset(p, rec, c, d)
		d.save(rec, was)
		out = append(out, made{rec: rec, ref: ensure{p.project, rec.ref(), c.ID}, new: was == 0})
	}
	if len(out) == 0 {
		return nil, nil, refuse("no new changes: these commits are the newest patch sets already")
	}
	if next != first {
		d.txn.If = append(d.txn.If, kv.Unchanged(f.keyNext(), rev))
		d.put(f.keyNext(), next)
	}
	return out, d, nil
}

func (f *Forge) newRecord(p *proposal, number int, id string) *Record {
	return &Record{Number: number, Project: p.project, Branch: p.branch, ChangeID: id, Status: StatusNew,
		Owner: p.by.Name, Email: p.by.Email, Created: f.Now().UTC()}
}

// submitFor is how long a merge that began keeps others from replacing the patch set.
const submitFor = awaitFor

// accepts tells whether a change takes c as its next patch set, or has it already.
func (f *Forge) accepts(ctx context.Context, rec *Record, c *git.Commit) (unchanged bool, err error) {
	if rec.Current.Commit == c.ID {
		return true, nil
	}
	at := f.URL(rec.Project, rec.Number)
	switch {
	case rec.Status == StatusMerged:
		return false, refuse("change %s is merged; to propose something new, remove the Change-Id line from commit %s", at, short(c.ID))
	case rec.Status == StatusAbandoned:
		return false, refuse("change %s is abandoned; restore it first, or remove the Change-Id line from commit %s", at, short(c.ID))
	case rec.Submit != nil && f.Now().Sub(rec.Submit.At) < submitFor:
		return false, refuse("change %s is being merged", at)
	}
	all, err := f.commits(ctx, rec)
	if err != nil {
		return false, err
	}
	if i := slices.Index(all, c.ID); i >= 0 {
		return false, refuse("commit %s is patch set %d of change %s already, and not the newest", short(c.ID), i+1, at)
	}
	return false, nil
}

// addPatchset puts c on top of rec, with everything that follows from it.
func (f *Forge) addPatchset(p *proposal, rec *Record, c *git.Commit, d *draft) {
	rec.Patchset++
	ps := Patchset{Number: rec.Patchset, Commit: c.ID, Parents: c.Parents, Message: c.Message, Uploader: p.by.Name, At: f.Now().UTC(), Files: c.Files}
	if ps.Files == nil {
		ps.Files = []string{}
	}
	size := 0
	for _, name := range ps.Files {
		size += len(name) + 4
	}
	if size > maxFiles {
		ps.Files = nil
	}
	rec.Current, rec.Votes, rec.Submit = ps, nil, nil
	d.put(f.keyPatchset(rec.Number, ps.Number), ps)
	d.put(f.keyCommit(rec.Project, c.ID), placed{rec.Number, ps.Number})

	o := p.options
	text := fmt.Sprintf("Uploaded patch set %d.", ps.Number)
	if o.message != "" {
		text += "\n\n" + cut(o.message)
	}
	d.comment(rec.Number, Comment{At: ps.At, User: p.by.Name, Patchset: ps.Number, Text: text})
	var also []event.Event
	if o.topic != "" && o.topic != rec.Topic {
		rec.Topic = o.topic
		if ps.Number > 1 {
			also = append(also, f.newEvent("topic-changed", rec, p.by))
		}
	}
	if wip := o.wip || rec.WIP && !o.ready; wip != rec.WIP {
		rec.WIP = wip
		if ps.Number > 1 {
			also = append(also, f.newEvent("wip-state-changed", rec, p.by))
		}
	}
	need := outboxEntry{Ensure: &ensure{p.project, rec.ref(), c.ID}}
	d.event(f.newEvent("patchset-created", rec, p.by), need)
	for _, e := range also {
		d.event(e, need)
	}
}

// direct moves a branch or tag.
func (f *Forge) direct(ctx context.Context, project string, repo *git.Repo, u git.RefUpdate, by identity) error {
	if branch, ok := branchOf(u.Ref); ok && u.New == git.Zero {
		if head, err := repo.Head(); err != nil || head == branch {
			return errors.Join(err, refuse("%s is the default branch: it cannot be deleted", branch))
		}
	}
	d := &draft{f: f}
	d.event(f.refEvent(project, u.Ref, u.Old, u.New, by), outboxEntry{Await: &await{project, u.Ref, u.New, f.Now()}})
	if _, err := d.commit(ctx); err != nil {
		return err
	}
	if err := repo.UpdateRefs(ctx, u); err != nil {
		return err
	}
	f.deliver(ctx)
	return nil
}
