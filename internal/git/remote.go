package git

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Remote is another repository: where it is, and the variables that git needs to reach it, which
// may hold secrets.
type Remote struct {
	URL string
	Env []string
}

func (m Remote) String() string { return Redact(m.URL) }

// check refuses addresses by which git would run a program or read an option.
func (m Remote) check() error {
	u := m.URL
	bad := func(why string) error { return fmt.Errorf("remote %q: %s", Redact(u), why) }
	switch {
	case u == "" || strings.HasPrefix(u, "-"):
		return bad("it is no address")
	case strings.ContainsAny(u, "\n\r\x00"):
		return bad("it contains a line end")
	case filepath.IsAbs(u):
		return nil
	case strings.Contains(u, "://"):
		p, err := url.Parse(u)
		if err != nil {
			return bad("it is no URL")
		}
		switch p.Scheme {
		case "http", "https", "ssh", "git", "file":
		default:
			return bad("scheme " + p.Scheme + " is not allowed")
		}
		if strings.HasPrefix(p.Host, "-") || strings.HasPrefix(p.User.Username(), "-") {
			return bad("the host starts with a dash")
		}
		return nil
	case strings.Contains(u, "::"):
		return bad("remote helpers are not allowed")
	case strings.Contains(u, ":"):
		return nil // user@host:path
	}
	return bad("it is neither a URL nor an absolute path")
}

// Transfer bounds a conversation with a remote. Zero values take defaults.
type Transfer struct {
	// Timeout ends it in any case; default 10 minutes.
	Timeout time.Duration
	// LowSpeed is how long HTTP may be slower than 1000 bytes a second; default 60 seconds.
	LowSpeed time.Duration
}

func (t Transfer) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.Timeout <= 0 {
		t.Timeout = 10 * time.Minute
	}
	return context.WithTimeout(ctx, t.Timeout)
}

func (t Transfer) config() []string {
	if t.LowSpeed <= 0 {
		t.LowSpeed = time.Minute
	}
	return []string{"http.lowSpeedLimit=1000", fmt.Sprintf("http.lowSpeedTime=%d", max(1, int(t.LowSpeed.Seconds())))}
}

// fsck checks what is received. The faults that are only warned about are those of old, honest
// tools, which well-known projects have in their history.
var fsck = []string{"fetch.fsckObjects=true", "fetch.fsck.zeroPaddedFilemode=warn", "fetch.fsck.badTimezone=warn",
	"fetch.fsck.missingSpaceBeforeDate=warn", "fetch.fsck.missingNameBeforeEmail=warn"}

// FetchOptions say what is fetched.
type FetchOptions struct {
	// Refspecs such as +refs/heads/*:refs/heads/*, or a commit id, which then is fetched without a
	// ref, if the remote allows it.
	Refspecs []string
	// Prune removes refs that the refspecs cover and the remote has not.
	Prune bool
	// Tags fetches tags that point to what is fetched.
	Tags bool
	Transfer
}

// Fetch brings refs and objects of a remote here. Several calls at once for one repository are
// safe, but do the work several times: callers de-duplicate.
func (r *Repo) Fetch(ctx context.Context, m Remote, o FetchOptions) error {
	if err := m.check(); err != nil {
		return err
	}
	var in strings.Builder
	for _, s := range o.Refspecs {
		if err := checkRefspec(s); err != nil {
			return err
		}
		in.WriteString(s + "\n")
	}
	if in.Len() == 0 {
		return fmt.Errorf("fetch from %s: nothing was asked for", m)
	}
	ctx, cancel := o.context(ctx)
	defer cancel()
	args := []string{"fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance",
		"--update-head-ok", "--stdin"}
	if !o.Tags {
		args = append(args, "--no-tags")
	}
	if o.Prune {
		args = append(args, "--prune")
	}
	_, err := r.run(ctx, command{args: append(args, "--end-of-options", m.URL), config: append(o.config(), fsck...),
		env: m.Env, stdin: strings.NewReader(in.String())})
	return err
}

func checkRefspec(s string) error {
	bad := fmt.Errorf("%q is no refspec", s)
	if IsID(s) {
		return nil
	}
	src, dst, _ := strings.Cut(strings.TrimPrefix(s, "+"), ":")
	for _, part := range []string{src, dst} {
		if part == "" || IsID(part) {
			continue
		}
		if strings.Count(part, "*") > 1 || checkRef(strings.Replace(part, "*", "x", 1)) != nil {
			return bad
		}
	}
	if src == "" {
		return bad
	}
	return nil
}

// ListRemote lists the refs of a remote below the patterns (refs/heads/*; none: all).
func (r *Repo) ListRemote(ctx context.Context, m Remote, o Transfer, patterns ...string) ([]Ref, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	ctx, cancel := o.context(ctx)
	defer cancel()
	args := append([]string{"ls-remote", "--quiet", "--end-of-options", m.URL}, patterns...)
	out, err := r.run(ctx, command{args: args, config: o.config(), env: m.Env})
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for line := range strings.Lines(string(out)) {
		id, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("git ls-remote answered %q", line)
		}
		if tag, peeled := strings.CutSuffix(name, "^{}"); peeled {
			if n := len(refs); n > 0 && refs[n-1].Name == tag {
				refs[n-1].Commit = id
			}
			continue
		}
		refs = append(refs, Ref{Name: name, Object: id, Commit: id})
	}
	return refs, nil
}

// Push moves refs of a remote, each only if it is at its Old (which must be set; Zero: it must not
// exist). All or none where the remote can do that. ErrMoved where one was elsewhere.
func (r *Repo) Push(ctx context.Context, m Remote, o Transfer, updates ...RefUpdate) error {
	if err := m.check(); err != nil {
		return err
	}
	args := []string{"push", "--porcelain", "--no-verify", "--quiet", "--atomic", "--no-recurse-submodules", "--no-follow-tags"}
	var specs []string
	for _, u := range updates {
		if err := checkRef(u.Ref); err != nil {
			return err
		}
		if !IsID(u.New) || !IsID(u.Old) {
			return fmt.Errorf("push %s: old and new commit must be given", u.Ref)
		}
		old, src := u.Old, u.New
		if old == Zero {
			old = ""
		}
		if src == Zero {
			src = ""
		}
		args = append(args, "--force-with-lease="+u.Ref+":"+old)
		specs = append(specs, src+":"+u.Ref)
	}
	ctx, cancel := o.context(ctx)
	defer cancel()
	args = append(append(args, "--end-of-options", m.URL), specs...)
	out, err := r.run(ctx, command{args: args, config: o.config(), env: m.Env})
	if err == nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "!") {
			continue
		}
		why := strings.TrimSpace(line[1:])
		if strings.Contains(why, "(stale info)") || strings.Contains(why, "(fetch first)") || strings.Contains(why, "(non-fast-forward)") {
			return fmt.Errorf("push to %s: %w: %s", m, ErrMoved, why)
		}
	}
	return err
}
