package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
)

// capabilities are what we tell a git that wants to push.
const capabilities = "report-status delete-refs side-band-64k quiet ofs-delta push-options object-format=sha1 agent=gozer"

// maxCommands bounds the refs of one push, maxOptions its options.
const (
	maxCommands = 1000
	maxOptions  = 100
)

// push is one push as its client sent it.
type push struct {
	updates []git.RefUpdate
	options []string
	// band: the client reads answers on bands; report: it wants to know what became of each ref.
	band, report bool
}

// advertise lists branches and tags for a git that wants to push; patch sets are nobody's to push over.
func (f *Forge) advertise(ctx context.Context, repo *git.Repo, w io.Writer) error {
	refs, err := repo.Refs(ctx, "refs/heads/", "refs/tags/")
	if err != nil {
		return err
	}
	l := &lines{w: w}
	l.line("# service=git-receive-pack\n")
	l.flush()
	caps := "\x00" + capabilities
	for _, r := range refs {
		l.line(r.Object + " " + r.Name + caps + "\n")
		caps = ""
	}
	if len(refs) == 0 {
		l.line(git.Zero + " capabilities^{}" + caps + "\n")
	}
	l.flush()
	return l.err
}

// readPush reads the commands of a push; the pack, if there is one, is left in r.
func readPush(r *bufio.Reader) (*push, error) {
	p := &push{}
	options := false
	for {
		line, flush, err := readLine(r)
		if errors.Is(err, io.EOF) && len(p.updates) == 0 {
			return p, nil // a client that only asks whether it may
		}
		if err != nil {
			return nil, fmt.Errorf("read the commands of a push: %w", err)
		}
		if flush {
			break
		}
		text := strings.TrimSuffix(string(line), "\n")
		if len(p.updates) == 0 {
			var caps string
			text, caps, _ = strings.Cut(text, "\x00")
			for c := range strings.FieldsSeq(caps) {
				p.band = p.band || c == "side-band-64k"
				p.report = p.report || c == "report-status"
				options = options || c == "push-options"
			}
		}
		part := strings.SplitN(text, " ", 3)
		if len(part) != 3 || !git.IsID(part[0]) || !git.IsID(part[1]) {
			return nil, fmt.Errorf("%q is no command of a push", text)
		}
		if p.updates = append(p.updates, git.RefUpdate{Old: part[0], New: part[1], Ref: part[2]}); len(p.updates) > maxCommands {
			return nil, fmt.Errorf("a push of more than %d refs", maxCommands)
		}
	}
	for options && len(p.updates) > 0 {
		line, flush, err := readLine(r)
		if err != nil {
			return nil, fmt.Errorf("read the options of a push: %w", err)
		}
		if flush {
			break
		}
		if p.options = append(p.options, strings.TrimSuffix(string(line), "\n")); len(p.options) > maxOptions {
			return nil, fmt.Errorf("a push with more than %d options", maxOptions)
		}
	}
	return p, nil
}

// receive carries a push out and answers it.
func (f *Forge) receive(w http.ResponseWriter, r *http.Request, project string, repo *git.Repo, by identity) {
	in := bufio.NewReader(r.Body)
	p, err := readPush(in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
	if len(p.updates) == 0 {
		return
	}
	unpack := "ok"
	q, err := f.unpack(r.Context(), repo, p, in)
	if err != nil {
		f.Log.Warn("a push cannot be unpacked", "connection", f.Config.Name, "project", project, "error", err)
		unpack = oneLine(unpackWhy(err))
	}
	said := &bytes.Buffer{}
	results := make([]string, len(p.updates))
	for i, u := range p.updates {
		if unpack != "ok" {
			results[i] = "unpacker error"
			continue
		}
		results[i] = f.result(r.Context(), project, repo, u, p, q, by, said)
	}
	if q != nil {
		if err := q.Drop(); err != nil {
			f.Log.Warn("the objects of a push stay", "error", err)
		}
	}
	respond(w, p, unpack, results, said.String())
}

// unpack takes the objects of a push into a quarantine. A push that only deletes has none.
func (f *Forge) unpack(ctx context.Context, repo *git.Repo, p *push, in io.Reader) (*git.Quarantine, error) {
	for _, u := range p.updates {
		if u.New != git.Zero {
			return repo.Receive(ctx, in, f.MaxPack)
		}
	}
	return repo.Receive(ctx, nil, 0)
}

func unpackWhy(err error) string {
	var e *git.Error
	if errors.As(err, &e) && e.Stderr != "" {
		return e.Stderr
	}
	return err.Error()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// result carries out one command; it is empty where all went well, and else says why not. What the person
// should read is added to said.
func (f *Forge) result(ctx context.Context, project string, repo *git.Repo, u git.RefUpdate, p *push, q *git.Quarantine, by identity, said *bytes.Buffer) string {
	var err error
	if target, ok := strings.CutPrefix(u.Ref, "refs/for/"); ok {
		err = f.pushFor(ctx, project, repo, u, target, p.options, q, by, said)
	} else {
		err = f.pushDirect(ctx, project, repo, u, q, by)
	}
	switch {
	case err == nil:
		return ""
	case Refused(err):
		fmt.Fprintf(said, "\n%s\n\n", err)
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	case errors.Is(err, git.ErrMoved):
		return "the branch moved meanwhile; fetch first"
	case errors.Is(err, errRace):
		return err.Error()
	}
	if errors.Is(err, kv.ErrNoSpace) {
		return "gozer has no room left and took nothing of it; push again later"
	}
	f.Log.Error("a push did not work", "connection", f.Config.Name, "project", project, "ref", u.Ref, "error", err)
	return "internal error; the log of gozer says more"
}

// pushFor proposes changes.
func (f *Forge) pushFor(ctx context.Context, project string, repo *git.Repo, u git.RefUpdate, target string, options []string, q *git.Quarantine, by identity, said *bytes.Buffer) error {
	if u.New == git.Zero {
		return refuse("there is nothing to delete at %s", u.Ref)
	}
	branch, inline, _ := strings.Cut(target, "%")
	o, err := parseOptions(append(strings.Split(inline, ","), options...))
	if err != nil {
		return err
	}
	if by.Name == "" {
		if by, err = f.committer(ctx, repo, u.New, q); err != nil {
			return err
		}
	}
	out, err := f.propose(ctx, &proposal{project: project, branch: strings.TrimPrefix(branch, "refs/heads/"), repo: repo, commit: u.New, options: o, by: by, quarantine: q})
	if err != nil {
		return err
	}
	said.WriteString("\n")
	for _, m := range out {
		subject, _, _ := strings.Cut(m.rec.Current.Message, "\n")
		word := "patch set " + fmt.Sprint(m.rec.Patchset)
		if m.new {
			word = "new"
		}
		fmt.Fprintf(said, "  %s %s [%s]\n", f.URL(project, m.rec.Number), subject, word)
	}
	if len(o.ignored) > 0 {
		fmt.Fprintf(said, "\n  Without effect here: %s\n", strings.Join(o.ignored, ", "))
	}
	said.WriteString("\n")
	return nil
}

// committer is who made the commit, where the push itself names nobody.
func (f *Forge) committer(ctx context.Context, repo *git.Repo, commit string, q *git.Quarantine) (identity, error) {
	log, err := repo.Log(ctx, git.LogOptions{From: []string{commit}, Limit: 1, Quarantine: q})
	if err != nil || len(log) == 0 {
		return identity{Name: "anonymous"}, err
	}
	name, _, _ := strings.Cut(log[0].Committer.Email, "@")
	if name == adminName || name == f.User { // anybody can write that into a commit
		name = "anonymous"
	}
	return identity{Name: name, Email: log[0].Committer.Email}, nil
}

// pushDirect moves a branch or tag, for those who may.
func (f *Forge) pushDirect(ctx context.Context, project string, repo *git.Repo, u git.RefUpdate, q *git.Quarantine, by identity) error {
	branch, isBranch := branchOf(u.Ref)
	switch {
	case !isBranch && !strings.HasPrefix(u.Ref, "refs/tags/"):
		return refuse("%s cannot be pushed to; propose a change with git push origin HEAD:refs/for/%s", u.Ref, f.Branch)
	case !by.Admin && isBranch:
		return refuse("branch %s is changed by changes that pass its gate: git push origin HEAD:refs/for/%s", branch, branch)
	case !by.Admin:
		return refuse("only an administrator can push tags")
	}
	if err := q.Accept(); err != nil {
		return err
	}
	return f.direct(ctx, project, repo, u, by)
}

// respond tells the client what became of its push.
func respond(w io.Writer, p *push, unpack string, results []string, said string) {
	out := &lines{w: w}
	if p.band && said != "" {
		out.band(bandMessage, said)
	}
	if p.report {
		var b bytes.Buffer
		rep := &lines{w: &b}
		rep.line("unpack " + unpack + "\n")
		for i, u := range p.updates {
			if results[i] == "" {
				rep.line("ok " + u.Ref + "\n")
			} else {
				rep.line("ng " + u.Ref + " " + results[i] + "\n")
			}
		}
		rep.flush()
		if p.band {
			out.band(bandReport, b.String())
		} else if out.err == nil {
			_, out.err = w.Write(b.Bytes())
		}
	}
	if p.band {
		out.flush()
	}
}
