package local

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
)

// URL is the address of a change.
func (f *Forge) URL(project string, number int) string {
	return fmt.Sprintf("%s/c/%s/+/%d", f.BaseURL, project, number)
}

// Change reads a change; see forge.Forge.
func (f *Forge) Change(ctx context.Context, p change.Project, number, patchset string) (*change.Change, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("change %q: %w", number, forge.ErrNotFound)
	}
	r, _, err := f.record(ctx, n)
	if err != nil {
		return nil, err
	}
	if p.Name != "" && p.Name != r.Project {
		return nil, fmt.Errorf("change %d of project %s: %w", n, p.Name, forge.ErrNotFound)
	}
	ps := r.Current
	if patchset != "" && patchset != strconv.Itoa(r.Patchset) {
		k, err := strconv.Atoi(patchset)
		if err != nil || k <= 0 {
			return nil, fmt.Errorf("patch set %q of change %d: %w", patchset, n, forge.ErrNotFound)
		}
		ps = Patchset{}
		if _, err := f.read(ctx, f.keyPatchset(n, k), &ps); err != nil {
			return nil, err
		}
	}
	return f.resolved(ctx, r, &ps)
}

// resolved is the change as the seam wants it, with its relations.
func (f *Forge) resolved(ctx context.Context, r *Record, ps *Patchset) (*change.Change, error) {
	c := &change.Change{
		Kind: change.KindChange, Project: f.project(r.Project), Branch: r.Branch, Ref: Ref(r.Number, ps.Number),
		Commit: ps.Commit, Number: strconv.Itoa(r.Number), Patchset: strconv.Itoa(ps.Number), ChangeID: r.ChangeID,
		URL: f.URL(r.Project, r.Number), Message: ps.Message, Owner: r.Owner, Topic: r.Topic, Files: ps.Files,
		Status: r.Status, Open: r.open(), Merged: r.Status == StatusMerged, Current: ps.Number == r.Patchset, WIP: r.WIP,
	}
	if c.Current {
		c.Votes = r.Votes
		if r.open() {
			c.MissingLabels = f.missing(r.Votes)
		}
	}
	switch {
	case r.Status == StatusAbandoned:
		c.Blocked = "it is abandoned"
	case !c.Current && r.open():
		c.Blocked = "patch set " + strconv.Itoa(r.Patchset) + " has replaced it"
	}
	if err := f.parents(ctx, c, ps); err != nil {
		return nil, err
	}
	open, err := f.opened(ctx)
	if err != nil {
		return nil, err
	}
	mine, err := f.commits(ctx, r)
	if err != nil {
		return nil, err
	}
	_, ids := change.DependsOn(ps.Message)
	for i := range open {
		o := &open[i]
		if o.Number == r.Number {
			continue
		}
		if slices.Contains(ids, o.ChangeID) {
			c.CompatNeeds = append(c.CompatNeeds, o.key(f))
		}
		if o.Project == r.Project && slices.ContainsFunc(o.Parents, func(id string) bool { return slices.Contains(mine, id) }) {
			c.GitNeededBy = append(c.GitNeededBy, o.key(f))
		}
		if slices.Contains(o.IDs, r.ChangeID) {
			c.CompatNeededBy = append(c.CompatNeededBy, o.key(f))
		}
	}
	return c, nil
}

// missing lists the labels that still keep a change from merging.
func (f *Forge) missing(votes []change.Vote) []string {
	var out []string
	for _, l := range f.Labels {
		if l.Required == 0 {
			continue
		}
		given := false
		for _, v := range votes {
			if v.Label != l.Name {
				continue
			}
			if l.Min < 0 && v.Value == l.Min {
				given = false
				break
			}
			given = given || v.Value >= l.Required
		}
		if !given {
			out = append(out, l.Name)
		}
	}
	return out
}

// placed is where a commit is a patch set.
type placed struct {
	Number   int `json:"number"`
	Patchset int `json:"patchset"`
}

// parents finds the open changes whose patch sets are the parents of ps.
func (f *Forge) parents(ctx context.Context, c *change.Change, ps *Patchset) error {
	for _, id := range ps.Parents {
		var at placed
		_, err := f.read(ctx, f.keyCommit(c.Project.Name, id), &at)
		if errors.Is(err, forge.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		parent, _, err := f.record(ctx, at.Number)
		if err != nil {
			return err
		}
		if parent.Status != StatusMerged {
			c.GitNeeds = append(c.GitNeeds, change.ChangeKey(c.Project, strconv.Itoa(at.Number), strconv.Itoa(at.Patchset)))
		}
	}
	return nil
}

// commits lists the commits of all patch sets of a change.
func (f *Forge) commits(ctx context.Context, r *Record) ([]string, error) {
	if r.Patchset == 1 {
		return []string{r.Current.Commit}, nil
	}
	all, err := list[Patchset](ctx, f.Store, fmt.Sprintf("%spatchset/%08d/", f.Prefix, r.Number))
	out := make([]string, len(all))
	for i, ps := range all {
		out[i] = ps.Commit
	}
	return out, err
}

var changePath = regexp.MustCompile(`^/c/(.+)/\+/([1-9][0-9]{0,9})(?:/([1-9][0-9]{0,5}))?/?$`)

// number reads the number out of the URL of a change.
func (f *Forge) number(url string) (int, bool) {
	bare := func(s string) string {
		return strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	}
	rest, ok := strings.CutPrefix(bare(url), bare(f.BaseURL))
	if !ok || f.BaseURL == "" {
		return 0, false
	}
	m := changePath.FindStringSubmatch(rest)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[2])
	return n, err == nil
}

// Resolve reads the change behind a URL; see forge.Forge.
func (f *Forge) Resolve(ctx context.Context, url string) (*change.Change, bool, error) {
	n, ok := f.number(url)
	if !ok {
		return nil, false, nil
	}
	c, err := f.Change(ctx, change.Project{}, strconv.Itoa(n), "")
	if errors.Is(err, forge.ErrNotFound) {
		return nil, false, nil
	}
	return c, err == nil, err
}

// Dependents lists open changes that name c's URL in a Depends-On.
func (f *Forge) Dependents(ctx context.Context, c *change.Change) ([]change.Key, error) {
	open, err := f.opened(ctx)
	if err != nil {
		return nil, err
	}
	var out []change.Key
	for i := range open {
		for _, u := range open[i].URLs {
			n, mine := f.number(u)
			if u == c.URL || mine && c.Project.Connection == f.Config.Name && strconv.Itoa(n) == c.Number {
				out = append(out, open[i].key(f))
				break
			}
		}
	}
	return out, nil
}

// Filter chooses changes. Empty fields choose all.
type Filter struct {
	Project, Branch, Owner, Topic string
	// Status is one of the Status constants.
	Status string
	Limit  int
}

// List reads changes, the newest first.
func (f *Forge) List(ctx context.Context, q Filter) ([]Record, error) {
	res, err := f.Store.Range(ctx, kv.Query{Prefix: f.Prefix + "change/"})
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	all, err := decodeAll[Record](res.KVs)
	if err != nil {
		return nil, err
	}
	out := []Record{}
	for _, r := range slices.Backward(all) {
		is := func(want, have string) bool { return want == "" || want == have }
		if is(q.Project, r.Project) && is(q.Branch, r.Branch) && is(q.Owner, r.Owner) && is(q.Topic, r.Topic) && is(q.Status, r.Status) {
			out = append(out, r)
		}
		if q.Limit > 0 && len(out) == q.Limit {
			break
		}
	}
	return out, nil
}

// Topic lists the open changes of a topic.
func (f *Forge) Topic(ctx context.Context, topic string) ([]change.Key, error) {
	open, err := f.opened(ctx)
	if err != nil || topic == "" {
		return nil, err
	}
	var out []change.Key
	for i := range open {
		if open[i].Topic == topic {
			out = append(out, open[i].key(f))
		}
	}
	return out, nil
}

// MaxDependencies is that of Config; negative is no bound.
func (f *Forge) MaxDependencies() int {
	if f.Config.MaxDependencies == nil {
		return -1
	}
	return *f.Config.MaxDependencies
}

// WholeTopic tells whether the changes of a topic need each other, for they are merged together.
func (f *Forge) WholeTopic() bool { return f.SubmitWholeTopic }
