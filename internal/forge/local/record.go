package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
)

// The states of a change, in Gerrit's words.
const (
	StatusNew       = "NEW"
	StatusMerged    = "MERGED"
	StatusAbandoned = "ABANDONED"
)

// Record is a change as it is kept.
type Record struct {
	Number   int    `json:"number"`
	Project  string `json:"project"`
	Branch   string `json:"branch"`
	ChangeID string `json:"change_id"`
	Status   string `json:"status"`
	Topic    string `json:"topic,omitempty"`
	WIP      bool   `json:"wip,omitempty"`
	// Owner pushed the first patch set.
	Owner   string    `json:"owner"`
	Email   string    `json:"email,omitempty"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Patchset is the number of the newest; Current is it.
	Patchset int      `json:"patchset"`
	Current  Patchset `json:"current"`
	// Votes are those on the newest patch set.
	Votes []change.Vote `json:"votes,omitempty"`
	// Submit is a merge that began and has not ended.
	Submit *Submit `json:"submit,omitempty"`
	// Landed is the commit by which it was merged.
	Landed string `json:"landed,omitempty"`
}

// Patchset is one version of a change.
type Patchset struct {
	Number   int       `json:"number"`
	Commit   string    `json:"commit"`
	Parents  []string  `json:"parents"`
	Message  string    `json:"message"`
	Uploader string    `json:"uploader"`
	At       time.Time `json:"at"`
	// Files are the changed paths; nil where they are too many to be kept.
	Files []string `json:"files"`
}

// Comment is what somebody said of a change, with the votes that came with it.
type Comment struct {
	At       time.Time            `json:"at"`
	User     string               `json:"user"`
	Patchset int                  `json:"patchset"`
	Text     string               `json:"text"`
	Votes    []change.Vote        `json:"votes,omitempty"`
	Files    []change.FileComment `json:"files,omitempty"`
	URL      string               `json:"url,omitempty"`
}

// Submit is what a merge is about to do to the branch.
type Submit struct {
	Report string    `json:"report"`
	Base   string    `json:"base"`
	Result string    `json:"result"`
	At     time.Time `json:"at"`
}

// Ref is where git finds a patch set.
func Ref(number, patchset int) string {
	return fmt.Sprintf("refs/changes/%02d/%d/%d", number%100, number, patchset)
}

func (r *Record) ref() string { return Ref(r.Number, r.Patchset) }

func (r *Record) open() bool { return r.Status == StatusNew }

// The keys of a forge, below its prefix.
func (f *Forge) keyNext() string        { return f.Prefix + "next" }
func (f *Forge) keyChange(n int) string { return fmt.Sprintf("%schange/%08d", f.Prefix, n) }
func (f *Forge) keyOpen(n int) string   { return fmt.Sprintf("%sopen/%08d", f.Prefix, n) }
func (f *Forge) keyPatchset(n, p int) string {
	return fmt.Sprintf("%spatchset/%08d/%06d", f.Prefix, n, p)
}
func (f *Forge) keyComments(n int) string   { return fmt.Sprintf("%scomment/%08d/", f.Prefix, n) }
func (f *Forge) keyReport(id string) string { return f.Prefix + "report/" + url.PathEscape(id) }
func (f *Forge) keyID(project, branch, id string) string {
	return f.Prefix + "id/" + url.PathEscape(project) + "/" + url.PathEscape(branch) + "/" + id
}
func (f *Forge) keyCommit(project, commit string) string {
	return f.Prefix + "commit/" + url.PathEscape(project) + "/" + commit
}
func (f *Forge) keyOutbox() string { return f.Prefix + "outbox/" }

// summary is what is kept of each open change to find it by.
type summary struct {
	Number   int      `json:"number"`
	Patchset int      `json:"patchset"`
	Project  string   `json:"project"`
	Branch   string   `json:"branch"`
	ChangeID string   `json:"change_id"`
	Topic    string   `json:"topic,omitempty"`
	Parents  []string `json:"parents,omitempty"`
	URLs     []string `json:"urls,omitempty"`
	IDs      []string `json:"ids,omitempty"`
}

func (s *summary) key(f *Forge) change.Key {
	return change.ChangeKey(f.project(s.Project), strconv.Itoa(s.Number), strconv.Itoa(s.Patchset))
}

// read decodes the value of a key. forge.ErrNotFound where there is none.
func (f *Forge) read(ctx context.Context, key string, into any) (rev int64, err error) {
	res, err := f.Store.Range(ctx, kv.Query{Key: key})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	if len(res.KVs) == 0 {
		return 0, fmt.Errorf("%s: %w", key, forge.ErrNotFound)
	}
	if err := json.Unmarshal(res.KVs[0].Value, into); err != nil {
		return 0, fmt.Errorf("decode %s: %w", key, err)
	}
	return res.KVs[0].Mod, nil
}

func (f *Forge) record(ctx context.Context, number int) (*Record, int64, error) {
	var r Record
	rev, err := f.read(ctx, f.keyChange(number), &r)
	if errors.Is(err, forge.ErrNotFound) {
		err = fmt.Errorf("change %d: %w", number, forge.ErrNotFound)
	}
	return &r, rev, err
}

// opened lists the open changes, by number.
func (f *Forge) opened(ctx context.Context) ([]summary, error) {
	return list[summary](ctx, f.Store, f.Prefix+"open/")
}

// Comments lists what was said of a change, oldest first.
func (f *Forge) Comments(ctx context.Context, number int) ([]Comment, error) {
	return list[Comment](ctx, f.Store, f.keyComments(number))
}

func list[T any](ctx context.Context, s kv.Store, prefix string) ([]T, error) {
	res, err := s.Range(ctx, kv.Query{Prefix: prefix})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	slices.SortStableFunc(res.KVs, func(a, b kv.KV) int { return int(a.Create - b.Create) })
	return decodeAll[T](res.KVs)
}

func decodeAll[T any](kvs []kv.KV) ([]T, error) {
	out := make([]T, len(kvs))
	for i, e := range kvs {
		if err := json.Unmarshal(e.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("decode %s: %w", e.Key, err)
		}
	}
	return out, nil
}

// draft gathers one transaction.
type draft struct {
	f   *Forge
	txn kv.Txn
	err error
}

func (d *draft) put(key string, v any) {
	b, err := json.Marshal(v)
	d.err = errors.Join(d.err, err)
	d.txn.Then = append(d.txn.Then, kv.Put(key, b))
}

// save writes a change's record and its entry among the open ones. rev is the revision that it was
// read at; 0: it is new.
func (d *draft) save(r *Record, rev int64) {
	r.Updated = d.f.Now().UTC()
	d.txn.If = append(d.txn.If, kv.Unchanged(d.f.keyChange(r.Number), rev))
	d.put(d.f.keyChange(r.Number), r)
	if !r.open() {
		d.txn.Then = append(d.txn.Then, kv.Delete(d.f.keyOpen(r.Number)))
		return
	}
	urls, ids := change.DependsOn(r.Current.Message)
	d.put(d.f.keyOpen(r.Number), summary{r.Number, r.Patchset, r.Project, r.Branch, r.ChangeID, r.Topic, r.Current.Parents, urls, ids})
}

func (d *draft) comment(number int, c Comment) {
	d.put(d.f.keyComments(number)+newID(), c)
}

func (d *draft) event(e event.Event, o outboxEntry) {
	o.Event = e
	d.put(d.f.keyOutbox()+e.ID, o)
}

// commit carries the transaction out. ok is false where somebody else was faster.
func (d *draft) commit(ctx context.Context) (ok bool, err error) {
	if d.err != nil {
		return false, d.err
	}
	ok, _, err = d.f.Store.Commit(ctx, d.txn)
	return ok, err
}

// maxTries bounds how often a transaction that lost a race is made anew.
const maxTries = 20

// errRace: others were faster, again and again.
var errRace = errors.New("the change is being changed by others; try again")

// update changes a record: fn alters r and adds what goes with it to d. It is called again where
// somebody else was faster. The events are delivered before update returns, if there is a sink.
func (f *Forge) update(ctx context.Context, number int, fn func(r *Record, d *draft) error) (*Record, error) {
	for range maxTries {
		r, rev, err := f.record(ctx, number)
		if err != nil {
			return nil, err
		}
		d := &draft{f: f}
		if err := fn(r, d); err != nil {
			return nil, err
		}
		d.save(r, rev)
		ok, err := d.commit(ctx)
		if err != nil {
			return nil, fmt.Errorf("write change %d: %w", number, err)
		}
		if ok {
			f.deliver(ctx)
			return r, nil
		}
	}
	return nil, errRace
}

// newID makes an id that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// newEvent is an event about r by user.
func (f *Forge) newEvent(typ string, r *Record, user identity) event.Event {
	return event.Event{
		ID: newID(), Connection: f.Config.Name, Driver: "local", Type: typ, Project: f.project(r.Project), At: f.Now().UTC(),
		Number: strconv.Itoa(r.Number), Patchset: strconv.Itoa(r.Patchset), Branch: r.Branch,
		User: user.Name, Email: user.Email, Name: user.Name,
	}
}

// refEvent is a ref-updated event.
func (f *Forge) refEvent(project, ref, old, now string, user identity) event.Event {
	e := event.Event{
		ID: newID(), Connection: f.Config.Name, Driver: "local", Type: "ref-updated", Project: f.project(project), At: f.Now().UTC(),
		Ref: ref, OldRev: old, NewRev: now, User: user.Name, Email: user.Email, Name: user.Name,
	}
	if branch, ok := branchOf(ref); ok {
		e.Ref, e.Branch = branch, branch
		e.BranchCreated, e.BranchDeleted = old == change.Zero, now == change.Zero
	}
	return e
}
