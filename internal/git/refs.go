package git

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Ref is a name and what it points to.
type Ref struct {
	Name   string
	Object string
	// Commit is the commit behind an annotated tag; otherwise it is Object.
	Commit string
}

// Refs lists the refs below the prefixes (refs/heads/, refs/tags/v1; none: all), by name.
func (r *Repo) Refs(ctx context.Context, prefixes ...string) ([]Ref, error) {
	args := []string{"for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "--end-of-options"}
	out, err := r.git(ctx, append(args, prefixes...)...)
	if err != nil || out == "" {
		return nil, err
	}
	var refs []Ref
	for line := range strings.SplitSeq(out, "\n") {
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("git for-each-ref answered %q", line)
		}
		ref := Ref{Name: f[2], Object: f[0], Commit: f[0]}
		if f[1] != "" {
			ref.Commit = f[1]
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// Branches maps the short names of branches to their commits.
func (r *Repo) Branches(ctx context.Context) (map[string]string, error) {
	refs, err := r.Refs(ctx, "refs/heads/")
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(refs))
	for _, ref := range refs {
		m[strings.TrimPrefix(ref.Name, "refs/heads/")] = ref.Commit
	}
	return m, nil
}

// ResolveRef is the commit that a full ref name (or HEAD) points to; tags are followed. ErrNotFound
// where there is none.
func (r *Repo) ResolveRef(ctx context.Context, name string) (string, error) {
	if err := checkRef(name); err != nil {
		return "", err
	}
	o, err := r.object(ctx, "info "+name+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", name, err)
	}
	return o.id, nil
}

// RefUpdate is one change of a ref.
type RefUpdate struct {
	Ref string
	// New is the object that it shall point to; Zero deletes the ref.
	New string
	// Old is what it must point to now: Zero, the ref must not exist; empty, no matter.
	Old string
}

// UpdateRefs changes all refs or none. ErrMoved where one was not at its Old. Any other error means
// that the outcome is unknown: read the refs.
func (r *Repo) UpdateRefs(ctx context.Context, updates ...RefUpdate) error {
	if len(updates) == 0 {
		return nil
	}
	var in bytes.Buffer
	in.WriteString("start\n")
	for _, u := range updates {
		if err := checkRef(u.Ref); err != nil {
			return err
		}
		if err := checkID("new value", u.New); err != nil {
			return err
		}
		if u.Old != "" {
			if err := checkID("old value", u.Old); err != nil {
				return err
			}
		}
		switch {
		case u.New == Zero && u.Old == Zero:
			fmt.Fprintf(&in, "verify %s %s\n", u.Ref, Zero)
		case u.New == Zero:
			fmt.Fprintf(&in, "delete %s%s\n", u.Ref, old(u))
		default:
			fmt.Fprintf(&in, "update %s %s%s\n", u.Ref, u.New, old(u))
		}
	}
	in.WriteString("prepare\ncommit\n")
	_, err := r.run(ctx, command{args: []string{"update-ref", "--no-deref", "--stdin"}, stdin: &in})
	if err == nil || ctx.Err() != nil {
		return err
	}
	// git's message for a lost race is for people; what the refs are now tells for sure.
	if moved := r.moved(ctx, updates); moved != "" {
		return fmt.Errorf("%w: %s", ErrMoved, moved)
	}
	return err
}

// old is how git is told what a ref must point to. An empty word would mean that it must not exist.
func old(u RefUpdate) string {
	if u.Old == "" {
		return ""
	}
	return " " + u.Old
}

// moved names the first ref that is not where an update expects it.
func (r *Repo) moved(ctx context.Context, updates []RefUpdate) string {
	now := map[string]string{}
	refs, err := r.Refs(ctx)
	if err != nil {
		return ""
	}
	for _, ref := range refs {
		now[ref.Name] = ref.Object
	}
	for _, u := range updates {
		is, ok := now[u.Ref]
		if !ok {
			is = Zero
		}
		if u.Old != "" && is != u.Old {
			return fmt.Sprintf("%s is at %s, not %s", u.Ref, is, u.Old)
		}
	}
	return ""
}
