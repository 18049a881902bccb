package executor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/ansible"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// A view on a host is a folder with the sources of a buildset, for jobs that work there. The first build that has the
// host lays it; it is written nowhere else until it is whole, never altered after that, and removed with its
// buildset. A key that is made for the buildset is let in on the host for the same time.

// viewRecord tells what was laid where, so that whoever is left can remove it.
type viewRecord struct {
	Buildset pipeline.BuildsetID `json:"buildset"`
	Path     string              `json:"path"`
	Node     node.Node           `json:"node"`
	Since    time.Time           `json:"since"`
}

// viewRecords is the prefix of the records: buildset, slash, address of the host.
const viewRecords = "/view/"

// viewPatience bounds how long a host is asked for to have a view removed. After that it is removed with the next
// view that is laid there.
const viewPatience = 24 * time.Hour

// viewTime bounds how long laying a view may take: a build that waits for it keeps others from starting.
const viewTime = 15 * time.Minute

// Pauses between attempts to remove a view: doubled each time.
const (
	firstViewPause   = 5 * time.Second
	longestViewPause = 10 * time.Minute
)

// viewRoot is the folder of this build's sources in the view. Builds of a buildset that want other projects or
// other checkouts have folders of their own.
func (b *build) viewRoot() string {
	main := ""
	sum := sha256.New()
	for _, p := range b.projects {
		if fmt.Fprintln(sum, p.srcDir, p.at.Commit); p.project == b.primary.Project {
			main = p.at.Commit
		}
	}
	name := hex.EncodeToString(sum.Sum(nil))[:8]
	if len(main) > 12 {
		name = main[:12] + "-" + name
	}
	return path.Join(b.s.View.Path, string(b.s.Buildset), name)
}

// viewVars are what playbooks know of the view; nil where there is none.
func (b *build) viewVars() object {
	if b.s.View == nil || len(b.projects) == 0 {
		return nil
	}
	root := b.viewRoot()
	return object{"host": b.s.View.Host, "root": root, "path": path.Join(root, srcDir(b.primary.Project, b.s.Job.WorkspaceScheme))}
}

// viewHost is the node of this build on which the view is; false where it has none.
func (b *build) viewHost() (name string, n node.Node, ok bool) {
	for i, want := range b.nodeset().Nodes {
		if i < len(b.nodes) && (want.Label == b.s.View.Host || slices.Contains(want.Names, b.s.View.Host)) {
			return want.Names[0], b.nodes[i], true
		}
	}
	return "", node.Node{}, false
}

// layView lays the sources on the view's host, if this build has it and they are not there yet.
func (b *build) layView(ctx context.Context) error {
	if b.s.View == nil || len(b.projects) == 0 {
		return nil
	}
	name, n, ok := b.viewHost()
	if !ok {
		return nil
	}
	root := b.viewRoot()
	b.console.line("View of the buildset's sources on %s: %s", name, root)
	ctx, cancel := context.WithTimeoutCause(ctx, viewTime, errors.New("the host takes too long"))
	defer cancel()
	err := b.x.laying.do(ctx, root+" "+address(n), func() error { return b.layOn(ctx, n, root) })
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("lay the view of the buildset's sources on %s at %s: %w", name, root, err)
	}
	return err
}

func (b *build) layOn(ctx context.Context, n node.Node, root string) error {
	if n.Connection != "" && n.Connection != "ssh" {
		return fmt.Errorf("it is reached by %s, not by SSH", n.Connection)
	}
	keep, err := b.x.recordView(ctx, viewRecord{Buildset: b.s.Buildset, Path: b.s.View.Path, Node: n, Since: time.Now()})
	if err != nil {
		return err
	}
	client, err := b.x.connect(ctx, n)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	line, err := b.x.viewKeyLine(b.s)
	if err != nil {
		return err
	}
	vars := map[string]string{"base": b.s.View.Path, "buildset": string(b.s.Buildset), "root": root, "keep": strings.Join(keep, " "),
		"line": line, "tmp": path.Join(path.Dir(root), ".new-"+string(b.s.Build))}
	told, err := onHost(client, vars, viewKeys+viewTidy, nil)
	if err != nil {
		return err
	}
	for l := range strings.Lines(told) {
		b.log.Info("a view of a buildset that is gone was removed", "host", n.Host, "view", path.Join(b.s.View.Path, strings.TrimSpace(l)))
	}
	there, err := onHost(client, vars, viewLook, nil)
	if err != nil || strings.TrimSpace(there) == "yes" {
		return err
	}
	began := time.Now()
	archive, in := io.Pipe()
	var size int64
	go func() {
		var err error
		size, err = b.pack(ctx, in)
		in.CloseWithError(err)
	}()
	_, err = onHost(client, vars, viewLay, archive)
	archive.Close()
	if err != nil {
		return err
	}
	b.console.line("Laid %d of sources there in %s: %s", len(b.projects), time.Since(began).Round(time.Millisecond), megabytes(size))
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

// pack writes the projects as an archive of files without history, and gives the size of what is in it.
func (b *build) pack(ctx context.Context, w io.Writer) (size int64, err error) {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	t := tar.NewWriter(z)
	commits := map[string]string{}
	for _, p := range b.projects {
		dir, release, err := b.x.views.tree(ctx, p.project, p.at.Commit)
		if err != nil {
			return size, err
		}
		n, err := packTree(t, dir, p.srcDir)
		release()
		if size += n; err != nil {
			return size, err
		}
		commits[p.project.Canonical()] = p.at.Commit
	}
	text, err := json.MarshalIndent(object{"buildset": b.s.Buildset, "commits": commits}, "", "  ")
	if err == nil {
		err = packFile(t, "view.json", text)
	}
	if err == nil && b.s.Observe {
		if text, err = ansible.Files.ReadFile("callback/" + observer); err == nil {
			err = packFile(t, ".gozer/"+observer, text)
		}
	}
	return size, errors.Join(err, t.Close(), z.Close())
}

// address is where the host is reached.
func address(n node.Node) string {
	if n.Port == 0 {
		return n.Host
	}
	return net.JoinHostPort(n.Host, strconv.Itoa(n.Port))
}

// recordView notes the view before anything of it is there, and names the buildsets whose views at that place are
// to stay.
func (x *Executor) recordView(ctx context.Context, r viewRecord) (keep []string, err error) {
	if x.Store == nil {
		return []string{string(r.Buildset)}, nil
	}
	all := store.Records[viewRecord](x.Store, viewRecords)
	err = all.Change(ctx, string(r.Buildset)+"/"+address(r.Node), func(v *viewRecord, exists bool) (bool, error) {
		if exists {
			r.Since = v.Since
		}
		*v = r
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	have, err := all.List(ctx)
	for _, h := range have {
		if h.Value.Path == r.Path && address(h.Value.Node) == address(r.Node) {
			keep = append(keep, string(h.Value.Buildset))
		}
	}
	return keep, err
}

// dropView removes the views of a buildset from the hosts that have one, however often it takes.
func (x *Executor) dropView(ctx context.Context, t *store.Task) error {
	var e pipeline.DropView
	if err := t.Decode(ctx, &e); err != nil {
		return err
	}
	for pause := firstViewPause; ; pause = min(2*pause, longestViewPause) {
		left, err := x.dropViews(ctx, e.Buildset, time.Since(t.Request.Made) > viewPatience)
		if err != nil {
			return err
		}
		if !left {
			return t.Done(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// dropViews asks each host once, and tells whether one is left to be asked again. last: none is.
func (x *Executor) dropViews(ctx context.Context, id pipeline.BuildsetID, last bool) (left bool, err error) {
	all := store.Records[viewRecord](x.Store, viewRecords+string(id)+"/")
	have, err := all.List(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range have {
		switch err := x.removeView(ctx, r.Value); {
		case err == nil, errors.Is(err, errHostKey): // the host that had it is not there any more
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case last:
			x.Log.Warn("a view is left on a host that cannot be reached, until the next one is laid there", "host", address(r.Value.Node), "buildset", id, "error", err)
		default:
			x.Log.Warn("a view is not removed yet", "host", address(r.Value.Node), "buildset", id, "error", err)
			left = true
			continue
		}
		if err := all.Delete(ctx, r.Name, r.Mod); err != nil {
			return false, err
		}
	}
	return left, nil
}

func (x *Executor) removeView(ctx context.Context, r viewRecord) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client, err := x.connect(ctx, r.Node)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	_, err = onHost(client, map[string]string{"base": r.Path, "buildset": string(r.Buildset), "line": "", "keep": ""}, viewKeys+viewDrop, nil)
	return err
}

// viewKey is the key of a buildset: every executor of the installation comes to the same, and nobody else.
func (x *Executor) viewKey(id pipeline.BuildsetID) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, x.Keys[0], nil, "gozer view "+string(id), ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("make the key of buildset %s: %w", id, err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// viewKeyLine lets the buildset's key in, as a line of authorized_keys; empty where its jobs get none. Where nobody
// removes it, it ends by itself.
func (x *Executor) viewKeyLine(s *pipeline.Start) (string, error) {
	if !s.PostReview || len(x.Keys) == 0 {
		return "", nil
	}
	key, err := x.viewKey(s.Buildset)
	if err != nil {
		return "", err
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", err
	}
	until := time.Now().Add(2 * viewPatience).Format("200601021504")
	return fmt.Sprintf("expiry-time=%q %s %s", until, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub))), viewComment(s.View.Path, s.Buildset)), nil
}

// viewComment marks lines of authorized_keys.
func viewComment(base string, id pipeline.BuildsetID) string {
	return "gozer-view:" + path.Join(base, string(id))
}
