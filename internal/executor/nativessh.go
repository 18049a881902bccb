package executor

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider/knock"
)

// nativeScript receives the program and its variables on standard input, and runs it. The shell is the
// leader of its session, so that its process id stops the whole tree. Standard input stays open until the program has
// ended: where it ends before, the connection was cut, and nobody waits for the program any more, or it may be begun
// anew; so the tree is stopped. What the program left running when it ended stays.
const nativeScript = `d=$(mktemp -d /tmp/gozer-XXXXXXXX) && chmod 700 "$d"
echo "gozer-dir $d $$"
head -c %d > "$d/run" && head -c %d > "$d/env" && chmod 700 "$d/run" && . "$d/env" && rm -f "$d/env" || exit 255
export GOZER_RESULT="$d/result.json"
cd "$HOME/$GOZER_SRC_DIR" 2>/dev/null || cd
exec 3<&0 </dev/null
(trap '' HUP; cat <&3; kill -9 -$$) >/dev/null 2>&1 &
w=$!
"$d/run" 3<&- 2>&1
r=$?
kill $w
exit $r`

// nativeOnNode runs the program on the first node. lost says that the node cannot be reached.
func (b *build) nativeOnNode(ctx context.Context, p *playbook, vars map[string]string) (code int, result []byte, lost, err error) {
	program, err := readInside(p.host, strings.TrimPrefix(strings.TrimPrefix(p.path, p.binds[0].Inside), "/"), 256<<20)
	if err != nil {
		return 0, nil, nil, err
	}
	if lost, err := b.putSources(ctx); lost != nil || err != nil {
		return 0, nil, lost, err
	}
	s, err := b.session(ctx)
	if err != nil {
		return 0, nil, err, nil
	}
	defer s.Close()
	var env bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&env, "export %s=%s\n", k, quote(vars[k]))
	}
	script := fmt.Sprintf(nativeScript, len(program), env.Len())
	open, end := io.Pipe()
	defer end.Close()
	s.Stdin = io.MultiReader(bytes.NewReader(program), &env, open)
	r, w := io.Pipe()
	s.Stdout, s.Stderr = w, w
	first := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.nativeOutput(afterHeader(r, first))
	}()
	waited := make(chan error, 1)
	go func() { waited <- s.Run("sh -c " + quote(script)) }()
	select {
	case err = <-waited:
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.Close()
	<-done
	dir, pid, _ := strings.Cut(<-first, " ")
	if dir != "" {
		result = b.collect(b.client, dir, pid, ctx.Err() != nil)
	}
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, nil, nil, nil
	case err == nil:
		return 0, result, nil, nil
	case errors.As(err, &exit):
		if exit.Signal() != "" {
			return 128, result, nil, nil
		}
		return exit.ExitStatus(), result, nil, nil
	}
	return 0, nil, err, nil
}

// putSources copies the projects of the workspace to the first node, before the first program of a build of
// which no playbook of Ansible's ran before: those put sources where they want them, as in Zuul.
func (b *build) putSources(ctx context.Context) (lost, err error) {
	if b.played || len(b.projects) == 0 {
		return nil, nil
	}
	b.played = true
	s, lost := b.session(ctx)
	if lost != nil {
		return lost, nil
	}
	defer s.Close()
	b.console.line("Copying the sources to %s", b.nativeHost())
	var script strings.Builder
	for _, p := range b.projects {
		script.WriteString(`rm -rf "$HOME"/` + quote(p.srcDir) + " && ")
	}
	script.WriteString(`tar -xof - -C "$HOME"`)
	r, w := io.Pipe()
	said := &knock.Output{Most: mostSaid}
	s.Stdin, s.Stderr = r, said
	go func() { w.CloseWithError(archive(w, b.dir.work(), "src")) }()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	err = s.Run("sh -c " + quote(script.String()))
	r.Close()
	var exit *ssh.ExitError
	switch {
	case err == nil || ctx.Err() != nil:
		return nil, nil
	case errors.As(err, &exit):
		return nil, fmt.Errorf("copy the sources to %s: %w: %s", b.nativeHost(), err, strings.TrimSpace(said.String()))
	}
	return err, nil
}

// archive writes a folder of dir as tar.
func archive(w io.Writer, dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), name, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		link := ""
		if e.Type()&fs.ModeSymlink != 0 {
			if link, err = root.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name = path
		if err := t.WriteHeader(h); err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(t, f)
		return err
	})
	return errors.Join(err, t.Close())
}

// collect reads the result, stops what still runs if asked to, and cleans up on the node.
func (b *build) collect(client *ssh.Client, dir, pid string, stop bool) []byte {
	s, err := client.NewSession()
	if err != nil {
		return nil // the node is gone, and with it all that was to be cleaned
	}
	defer s.Close()
	script := "cat " + quote(dir) + "/result.json 2>/dev/null; rm -rf " + quote(dir)
	if _, err := strconv.Atoi(pid); err == nil && stop {
		script = "kill -9 -" + pid + "; " + script
	}
	timer := time.AfterFunc(20*time.Second, func() { client.Close() })
	defer timer.Stop()
	out := &knock.Output{Most: maxResults}
	s.Stdout = out
	if err := s.Run("sh -c " + quote(script)); err != nil {
		return nil
	}
	result, whole := out.Bytes()
	if !whole {
		return nil
	}
	return result
}

// afterHeader takes the script's first line off and passes the rest on.
func afterHeader(r *io.PipeReader, first chan<- string) io.Reader {
	var head []byte
	one := make([]byte, 1)
	for len(head) < 4096 {
		if _, err := r.Read(one); err != nil {
			break
		}
		if one[0] == '\n' {
			line := string(head)
			if rest, ok := strings.CutPrefix(line, "gozer-dir "); ok {
				first <- rest
				return r
			}
			head = nil
			continue
		}
		head = append(head, one[0])
	}
	first <- ""
	return io.MultiReader(bytes.NewReader(head), r)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// session opens a session on the first node, over the connection that an earlier program had where that
// still stands.
func (b *build) session(ctx context.Context) (*ssh.Session, error) {
	if b.client != nil {
		if s, err := openSession(ctx, b.client); err == nil {
			return s, nil
		}
		b.hangUp()
	}
	client, err := b.x.connect(ctx, b.nodes[0])
	if err != nil {
		return nil, err
	}
	b.client = client
	go keepAlive(client)
	return openSession(ctx, client)
}

// patience is how long a node may take to answer anything.
const patience = 30 * time.Second

// openSession opens a session, or closes the connection of a node that does not answer.
func openSession(ctx context.Context, client *ssh.Client) (*ssh.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	return client.NewSession()
}

// keepAlive closes a connection whose node is silent; it ends with the connection.
func keepAlive(client *ssh.Client) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Wait()
	}()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(patience, func() { client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			client.Close()
		}
	}
}

// hangUp closes the connection, if there is one.
func (b *build) hangUp() {
	if b.client != nil {
		b.client.Close()
		b.client = nil
	}
}

// connect opens an SSH connection to a node, which must show one of its pinned keys.
func (x *Executor) connect(ctx context.Context, n node.Node) (*ssh.Client, error) {
	var signers []ssh.Signer
	for _, pem := range x.Keys {
		s, err := ssh.ParsePrivateKey(pem)
		if err != nil {
			return nil, fmt.Errorf("read the node key: %w", err)
		}
		signers = append(signers, s)
	}
	user := n.User
	if user == "" {
		user = os.Getenv("USER")
	}
	port := n.Port
	if port == 0 {
		port = 22
	}
	cfg := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: pinned(n), Timeout: 30 * time.Second}
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(n.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now().Add(25 * time.Second)) })
	defer stop()
	c, chans, reqs, err := ssh.NewClientConn(conn, conn.RemoteAddr().String(), cfg)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// errHostKey: what answers at the address of a node is another machine.
var errHostKey = errors.New("it shows another host key than the one it was made with")

// pinned refuses a node that shows another key than it was made with.
func pinned(n node.Node) ssh.HostKeyCallback {
	return func(host string, _ net.Addr, key ssh.PublicKey) error {
		if len(n.HostKeys) == 0 {
			return nil
		}
		for _, k := range n.HostKeys {
			want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k))
			if err == nil && bytes.Equal(want.Marshal(), key.Marshal()) {
				return nil
			}
		}
		return fmt.Errorf("node %s: %w", host, errHostKey)
	}
}
