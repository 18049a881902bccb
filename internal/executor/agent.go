package executor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// sshAgent is the SSH agent of one build, in this process: keys can be used, added and removed through
// its socket, and are gone with the build.
type sshAgent struct {
	path string
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
}

// projectKeyComment marks a project's own key.
const projectKeyComment = "(stdin)"

// startAgent loads the keys that let the build in: those for nodes, and in post-review pipelines the
// change's project's own.
//
// Roles that swap the site's key for one of the build's leave those keys in the agent whose comment is
// projectKeyComment, as Zuul adds project keys by standard input.
func (b *build) startAgent(ctx context.Context) error {
	ring := agent.NewKeyring()
	add := func(pem []byte, comment string) error {
		key, err := ssh.ParseRawPrivateKey(pem)
		if err != nil {
			return fmt.Errorf("read SSH key %q: %w", comment, err)
		}
		return ring.Add(agent.AddedKey{PrivateKey: key, Comment: comment})
	}
	for _, k := range b.x.Keys {
		if err := add(k, "gozer node key"); err != nil {
			return err
		}
	}
	if b.s.PostReview && b.x.Secrets != nil {
		pem, err := b.x.Secrets.SSHKey(ctx, b.primary.Project)
		if err != nil {
			return fmt.Errorf("read the SSH key of %s: %w", b.primary.Project, err)
		}
		if pem != nil {
			if err := add(pem, projectKeyComment); err != nil {
				return err
			}
		}
	}
	if b.s.View != nil && b.s.PostReview && len(b.x.Keys) > 0 {
		key, err := b.x.viewKey(b.s.Buildset)
		if err != nil {
			return err
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: &key, Comment: "gozer view key"}); err != nil {
			return err
		}
	}
	a := &sshAgent{path: filepath.Join(b.x.run, "a"+string(b.s.Build)), open: map[net.Conn]bool{}}
	if err := os.RemoveAll(a.path); err != nil {
		return err
	}
	var err error
	if a.ln, err = net.Listen("unix", a.path); err != nil {
		return fmt.Errorf("start an SSH agent: %w", err)
	}
	a.wg.Go(func() { a.serve(ring) })
	b.agent = a
	return nil
}

func (a *sshAgent) serve(ring agent.Agent) {
	for {
		c, err := a.ln.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.open[c] = true
		a.mu.Unlock()
		a.wg.Go(func() {
			_ = agent.ServeAgent(ring, c) // ends with the connection
			a.mu.Lock()
			delete(a.open, c)
			a.mu.Unlock()
			c.Close()
		})
	}
}

func (a *sshAgent) close() {
	a.ln.Close()
	a.mu.Lock()
	for c := range a.open {
		c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}
