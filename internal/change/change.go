// Package change is the vocabulary of what Gozer is asked to test: projects, branches, refs,
// proposed changes with their patch sets, votes and dependencies, and the requirements that a
// pipeline has of them. It is plain data with pure functions; it knows no forge, no git and no
// pipeline.
package change

import (
	"slices"
	"strings"
	"time"
)

// Project names one repository at one connection. It is comparable and serves as a map key.
type Project struct {
	// Connection is the name of the connection in the process configuration (gerrit, github...).
	Connection string `json:"connection"`
	// Host is the connection's canonical host name.
	Host string `json:"host"`
	// Name is the project's name at the forge, such as org/project.
	Name string `json:"name"`
}

// Canonical is the name that is unique over all connections: host/name.
func (p Project) Canonical() string { return p.Host + "/" + p.Name }

// Short is the last component of the name.
func (p Project) Short() string { return p.Name[strings.LastIndexByte(p.Name, '/')+1:] }

// String is the canonical name.
func (p Project) String() string { return p.Canonical() }

// Kind tells the four kinds of things that can be enqueued apart.
type Kind string

// The kinds of refs. Only a KindChange has dependencies and can be merged.
const (
	KindChange Kind = "change"
	KindBranch Kind = "branch"
	KindTag    Kind = "tag"
	KindRef    Kind = "ref"
)

// Zero is the object name that git uses for "does not exist".
const Zero = "0000000000000000000000000000000000000000"

// Key identifies one thing that can be enqueued: a change at one patch set, or a ref at one
// revision. Two Changes with the same key are the same thing at different times of looking.
type Key string

// Stable identifies a change whatever its patch set, or a ref whatever its revision.
type Stable string

// Change is a proposed change at one patch set, or a branch, tag or other ref, with what its forge
// said of it when it was last asked. It is data: whoever holds one may read it, nobody changes it.
type Change struct {
	Kind    Kind    `json:"kind"`
	Project Project `json:"project"`
	// Branch is the target branch of a change, the short name of a branch ref, and empty for tags
	// and other refs.
	Branch string `json:"branch,omitempty"`
	// Ref is the full name: refs/changes/01/1/2, refs/pull/7/head, refs/heads/main, refs/tags/v1.
	Ref string `json:"ref"`
	// OldRev and NewRev are the ends of a ref update (Zero: created, deleted); empty for changes
	// and for a ref enqueued without one.
	OldRev string `json:"old_rev,omitempty"`
	NewRev string `json:"new_rev,omitempty"`
	// Commit is the head of the patch set.
	Commit string `json:"commit,omitempty"`

	// Number and Patchset are the forge's: 1234 and 3 at Gerrit, 7 and a commit id at GitHub.
	Number   string `json:"number,omitempty"`
	Patchset string `json:"patchset,omitempty"`
	// ChangeID is the footer's I…, where the forge has one.
	ChangeID string `json:"change_id,omitempty"`
	URL      string `json:"url,omitempty"`
	// Message is the commit message, or title and description of a pull request.
	Message string `json:"message,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Topic   string `json:"topic,omitempty"`
	// Hashtags and Labels are Gerrit's and GitHub's words for tags that people put on a change.
	Hashtags []string `json:"hashtags,omitempty"`
	Labels   []string `json:"labels,omitempty"`
	// Files are the changed paths; nil means unknown (ask git), empty means none.
	Files []string `json:"files"`

	// Status is the forge's word (NEW, MERGED, ABANDONED, open, closed).
	Status string `json:"status,omitempty"`
	Open   bool   `json:"open,omitempty"`
	Merged bool   `json:"merged,omitempty"`
	// Current tells whether Patchset is the newest.
	Current bool   `json:"current,omitempty"`
	WIP     bool   `json:"wip,omitempty"`
	Draft   bool   `json:"draft,omitempty"`
	Votes   []Vote `json:"votes,omitempty"`
	// MissingLabels are the votes that the forge still asks for before it lets the change merge.
	MissingLabels []string `json:"missing_labels,omitempty"`
	// Blocked says why else the forge would refuse to merge; empty where it would not.
	Blocked string `json:"blocked,omitempty"`

	// GitNeeds are the unmerged git parents, CompatNeeds come from Depends-On: I…, FooterNeeds
	// from Depends-On URLs, TopicNeeds from submit-whole-topic: in this order they are Needs.
	GitNeeds    []Key `json:"git_needs,omitempty"`
	CompatNeeds []Key `json:"compat_needs,omitempty"`
	FooterNeeds []Key `json:"footer_needs,omitempty"`
	TopicNeeds  []Key `json:"topic_needs,omitempty"`
	// GitNeededBy and CompatNeededBy are open changes that the forge lists as children.
	GitNeededBy    []Key `json:"git_needed_by,omitempty"`
	CompatNeededBy []Key `json:"compat_needed_by,omitempty"`
	// FooterNeededBy are open changes anywhere whose footers name this one.
	FooterNeededBy []Key `json:"footer_needed_by,omitempty"`
	// ContainingBranches are the branches that contain a tag's commit.
	ContainingBranches []string `json:"containing_branches,omitempty"`
}

// Vote is one person's value for one label on the current patch set.
type Vote struct {
	Label string    `json:"label"`
	Value int       `json:"value"`
	User  string    `json:"user,omitempty"`
	Email string    `json:"email,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// IsChange tells whether c is a proposed change.
func (c *Change) IsChange() bool { return c.Kind == KindChange }

// Key is c's identity: connection, project, number and patch set, or ref and new revision.
func (c *Change) Key() Key {
	if c.Kind == KindChange {
		return ChangeKey(c.Project, c.Number, c.Patchset)
	}
	return Key(c.Project.Connection + ":" + c.Project.Name + " " + c.Ref + "@" + c.NewRev)
}

// ChangeKey is the key of a proposed change.
func ChangeKey(p Project, number, patchset string) Key {
	return Key(p.Connection + ":" + p.Name + " " + number + "," + patchset)
}

// Stable is c's identity without patch set or revision.
func (c *Change) Stable() Stable {
	if c.Kind == KindChange {
		return Stable(c.Project.Connection + ":" + c.Project.Name + " " + c.Number)
	}
	return Stable(c.Project.Connection + ":" + c.Project.Name + " " + c.Ref)
}

// ID is what people and the status page call c: number,patchset, or the new revision, or the ref.
func (c *Change) ID() string {
	switch {
	case c.Kind == KindChange:
		return c.Number + "," + c.Patchset
	case c.NewRev != "":
		return c.NewRev
	}
	return c.Ref
}

// Needs lists what must be tested and merged before c, in the order git parents, Change-Id
// footers, URL footers, topic; each once.
func (c *Change) Needs(byTopic bool) []Key {
	lists := [][]Key{c.GitNeeds, c.CompatNeeds, c.FooterNeeds}
	if byTopic {
		lists = append(lists, c.TopicNeeds)
	}
	return union(lists...)
}

// NeededBy lists the open changes that are known to need c, in the forge's order; each once.
func (c *Change) NeededBy() []Key { return union(c.GitNeededBy, c.CompatNeededBy, c.FooterNeededBy) }

// union is a new list of all keys, each once.
func union(lists ...[]Key) []Key {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	if n == 0 {
		return nil
	}
	out := make([]Key, 0, n)
	var seen map[Key]bool // beside out, where there are many
	if n > 16 {
		seen = make(map[Key]bool, n)
	}
	for _, l := range lists {
		for _, k := range l {
			if seen[k] || seen == nil && slices.Contains(out, k) {
				continue
			}
			if seen != nil {
				seen[k] = true
			}
			out = append(out, k)
		}
	}
	return out
}

// CanMerge tells whether the forge would merge c once the labels in allow are given, and if not,
// why. Rule: Zuul's Gerrit and GitHub drivers, semantics 3.1 and 3.2.
func (c *Change) CanMerge(allow []string) (ok bool, why string) {
	switch {
	case c.Kind != KindChange:
		return true, ""
	case c.Number == "":
		return false, "it is not known to the forge"
	case c.WIP || c.Draft:
		return false, "it is marked as work in progress"
	case c.Blocked != "":
		return false, c.Blocked
	}
	for _, l := range c.MissingLabels {
		if !contains(allow, l) {
			return false, "it still needs " + l
		}
	}
	return true, ""
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Parts takes the key of a proposed change apart; ok is false for keys of refs.
func (k Key) Parts() (connection, project, number, patchset string, ok bool) {
	connection, rest, ok := strings.Cut(string(k), ":")
	if !ok {
		return "", "", "", "", false
	}
	i := strings.LastIndexByte(rest, ' ')
	if i < 0 {
		return "", "", "", "", false
	}
	number, patchset, ok = strings.Cut(rest[i+1:], ",")
	return connection, rest[:i], number, patchset, ok
}
