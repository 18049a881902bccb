package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Member is one live process in one role, under its lease.
type Member struct {
	ID      string    `json:"id"`
	Role    string    `json:"role"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// State is initializing, running, paused or stopping.
	State string `json:"state"`
	// Component names what stays when its processes come and go; Paused is its pause.
	Component string `json:"component,omitempty"`
	Paused    *Pause `json:"paused,omitempty"`
	// Zone is the one that an executor takes builds of.
	Zone string `json:"zone,omitempty"`
	// Address is where the member serves what others read of it (logs), if it does.
	Address string `json:"address,omitempty"`
	// Reads and Writes are the record formats that it knows.
	Reads  int `json:"reads"`
	Writes int `json:"writes"`
	// Detail is for people: what it works on.
	Detail map[string]any `json:"detail,omitempty"`
}

// MemberPrefix is where the members of a role are.
func MemberPrefix(role string) string { return "/member/" + role + "/" }

// Leased is somebody who lives under a lease: a *kv.Session.
type Leased interface{ Lease() kv.LeaseID }

// Join writes the member's record under the session's lease; again to change it.
func (s *Store) Join(ctx context.Context, ses Leased, m Member) error {
	format, err := s.readFormat(ctx)
	if err != nil {
		return fmt.Errorf("join as %s %s: %w", m.Role, m.ID, err)
	}
	m.Reads = s.format
	m.Writes, _ = strconv.Atoi(string(format.Value))
	m.Host, m.Version = cmp.Or(m.Host, s.host), cmp.Or(m.Version, s.version)
	// Under the format as it was read: it may be raised at this moment, beyond what this program knows.
	_, err = s.WriteIf(ctx, Fence{}, []kv.Cmp{kv.Unchanged(formatKey, format.Mod)}, kv.PutLease(MemberPrefix(m.Role)+seg(m.ID), encode(m), ses.Lease()))
	if err != nil {
		return fmt.Errorf("join as %s %s: %w", m.Role, m.ID, err)
	}
	return nil
}

// Members lists who is there in a role.
func (s *Store) Members(ctx context.Context, role string) ([]Member, error) {
	rs, err := Records[Member](s, MemberPrefix(role)).List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Member, len(rs))
	for i, r := range rs {
		out[i] = r.Value
	}
	return out, nil
}

// Holding is a member in one of its roles.
type Holding struct{ Member, Role string }

// serves tells which role answers requests of a kind.
var serves = map[string]string{
	KindMerge: "merger", KindRepoState: "merger", KindFiles: "merger",
	KindConfigure: "scheduler", KindRefetch: "scheduler", KindRequeue: "scheduler",
	KindArtifacts: "history", KindRecord: "history", KindNodes: "launcher", KindReturn: "launcher",
	KindBuild: "executor", KindView: "executor", KindHazards: "executor", KindReport: "reporter",
}

// Owned lists for people what every member holds now: the pieces of work that it owns, and how many requests
// of each kind it works on.
func (s *Store) Owned(ctx context.Context) (map[Holding][]string, error) {
	r, err := s.kv.Range(ctx, kv.Query{Prefix: "/claim/"})
	if err != nil {
		return nil, fmt.Errorf("list the claims: %w", err)
	}
	out := map[Holding][]string{}
	type busy struct{ member, kind string }
	count := map[busy]int{}
	for _, e := range r.KVs {
		kind, name, _ := strings.Cut(strings.TrimPrefix(e.Key, "/claim/"), "/")
		if kind != "owner" {
			count[busy{string(e.Value), kind}]++
			continue
		}
		work, err := url.PathUnescape(name)
		if err != nil {
			work = name
		}
		h := Holding{string(e.Value), "scheduler"}
		if p, ok := strings.CutPrefix(work, "provider/"); ok {
			h.Role, work = "launcher", "provider "+p
		}
		out[h] = append(out[h], work)
	}
	for b, n := range count {
		h := Holding{b.member, serves[b.kind]}
		out[h] = append(out[h], fmt.Sprintf("%d %s", n, b.kind))
	}
	for h := range out {
		slices.Sort(out[h])
	}
	return out, nil
}

// OwnerPrefix is where the claims of owners are.
const OwnerPrefix = "/claim/owner/"

// Own claims a piece of work for a member, under its session's lease. ok is false where somebody else
// holds it. The fence guards every write about the work. A claim of the member's own that it knows nothing
// of (its making had an unknown outcome) is given up and made anew: writes of a former time that are still
// on their way must not find their fence whole.
func (s *Store) Own(ctx context.Context, ses Leased, work, member string) (f Fence, ok bool, err error) {
	key := OwnerPrefix + seg(work)
	txn := kv.Txn{
		If:   []kv.Cmp{kv.Missing(key)},
		Then: []kv.Op{kv.PutLease(key, []byte(member), ses.Lease())},
	}
	ok, rev, err := s.kv.Commit(ctx, txn)
	if err != nil {
		return Fence{}, false, fmt.Errorf("claim %s: %w", work, err)
	}
	if ok {
		return Fence{key, rev}, true, nil
	}
	e, found, err := kv.Get(ctx, s.kv, key)
	if err != nil || !found || e.Lease != ses.Lease() || string(e.Value) != member {
		return Fence{}, false, err
	}
	if err := s.Disown(ctx, Fence{key, e.Create}); err != nil {
		return Fence{}, false, fmt.Errorf("claim %s: %w", work, err)
	}
	ok, rev, err = s.kv.Commit(ctx, txn)
	return Fence{key, rev}, ok, err
}

// Disown gives a piece of work back. It is no error if the claim is gone already.
func (s *Store) Disown(ctx context.Context, f Fence) error {
	actx, cancel := aside(ctx)
	defer cancel()
	_, _, err := s.kv.Commit(actx, kv.Txn{If: f.cmps(), Then: []kv.Op{kv.Delete(f.Key)}})
	return err
}

// Chosen tells which of the members should own a piece of work: rendezvous hashing, so that a member that
// comes or goes moves only its own share. Empty where there are no members.
func Chosen(work string, members []string) string {
	var best string
	var top uint64
	for _, m := range members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(m + "\x00" + work))
		// FNV's high bits are poor for short inputs; mix them once more.
		x := h.Sum64()
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		if best == "" || x > top || (x == top && m < best) {
			best, top = m, x
		}
	}
	return best
}
