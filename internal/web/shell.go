package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider/knock"
)

// loginTimeout bounds the way to a node.
const loginTimeout = 15 * time.Second

// shell lets an admin in on a node that is held or in use, over a websocket (api.ShellStart). The node
// knows Gozer's key only, and often only Gozer can reach it: nobody needs either.
func (s *Server) shell(w http.ResponseWriter, r *request) error {
	n, err := s.ownNode(r)
	if err != nil {
		return err
	}
	if n.State != node.Hold && n.State != node.InUse {
		return badRequest("node %s is %s: one can only log in to a node that is held or in use; hold it first", n.ID, n.State)
	}
	key, err := s.sshKeyOfNodes(r)
	if err != nil {
		return err
	}
	signer, err := gossh.ParsePrivateKey([]byte(key.Private))
	if err != nil {
		return err
	}
	if err := s.audited(r, "node-shell", n.ID); err != nil {
		return err
	}
	// Pages of others may not: who is trusted by address has no token that they would lack.
	c, err := websocket.Accept(w, r.Request, nil)
	if err != nil {
		return nil // Accept has answered
	}
	defer c.CloseNow()
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	go beat(ctx, c, cancel)
	end := session(ctx, c, n, signer)
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	_ = c.Write(ctx, websocket.MessageText, b) // the client may be gone
	return closed(c, websocket.StatusNormalClosure, "")
}

// session is one login, from the client's first message to its end.
func session(ctx context.Context, c *websocket.Conn, n *node.Node, signer gossh.Signer) api.ShellEnd {
	fail := func(err error) api.ShellEnd { return api.ShellEnd{Exit: -1, Error: err.Error()} }
	first, stop := context.WithTimeout(ctx, heartbeat)
	defer stop()
	var start api.ShellStart
	_, body, err := c.Read(first)
	if err == nil {
		err = json.Unmarshal(body, &start)
	}
	if err != nil {
		return fail(errors.New("the first message must say what to run, and how large the terminal is"))
	}
	dctx, stop := context.WithTimeout(ctx, loginTimeout)
	defer stop()
	client, err := knock.Dial(dctx, n.Access, signer)
	if err != nil {
		return fail(err)
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	ssh, err := client.NewSession()
	if err != nil {
		return fail(err)
	}
	defer ssh.Close()
	stdin, err := ssh.StdinPipe()
	if err != nil {
		return fail(err)
	}
	ssh.Stdout, ssh.Stderr = &shellOutput{ctx, c, 1}, &shellOutput{ctx, c, 2}
	if start.Term != "" {
		if err := ssh.RequestPty(start.Term, start.Rows, start.Cols, gossh.TerminalModes{}); err != nil {
			return fail(err)
		}
	}
	if start.Command == "" {
		err = ssh.Shell()
	} else {
		err = ssh.Start(start.Command)
	}
	if err != nil {
		return fail(err)
	}
	go shellInput(ctx, c, ssh, stdin)
	err = ssh.Wait()
	if exit := new(gossh.ExitError); errors.As(err, &exit) {
		return api.ShellEnd{Exit: exit.ExitStatus()}
	}
	if err != nil {
		return fail(err)
	}
	return api.ShellEnd{}
}

// shellOutput sends what the node prints: the number of the stream, then the bytes.
type shellOutput struct {
	ctx    context.Context
	c      *websocket.Conn
	stream byte
}

func (o *shellOutput) Write(p []byte) (int, error) {
	return len(p), o.c.Write(o.ctx, websocket.MessageBinary, append([]byte{o.stream}, p...))
}

// shellInput hands on what the client types, until it goes away.
func shellInput(ctx context.Context, c *websocket.Conn, ssh *gossh.Session, stdin io.WriteCloser) {
	for {
		kind, body, err := c.Read(ctx)
		if err != nil {
			_ = ssh.Close()
			return
		}
		if kind == websocket.MessageBinary {
			if _, err := stdin.Write(body); err != nil {
				return
			}
			continue
		}
		var say api.ShellSay
		if json.Unmarshal(body, &say) != nil {
			continue
		}
		if say.EOF {
			_ = stdin.Close()
		}
		if say.Rows > 0 && say.Cols > 0 {
			_ = ssh.WindowChange(say.Rows, say.Cols)
		}
	}
}
