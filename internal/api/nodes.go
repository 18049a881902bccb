package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"
)

// Nodes lists the nodes that a tenant uses, and those that nobody does yet.
func (c *Client) Nodes(ctx context.Context, tenant string) (out []Node, err error) {
	return out, c.get(ctx, inTenant(tenant, "nodes"), &out)
}

// HoldNode keeps a node for people.
func (c *Client) HoldNode(ctx context.Context, tenant, id string, q NodeHoldRequest) error {
	return c.post(ctx, inTenant(tenant, "node/"+url.PathEscape(id)+"/hold"), q)
}

// DeleteNode gives a node up; with force also one that a build uses.
func (c *Client) DeleteNode(ctx context.Context, tenant, id string, force bool) error {
	return c.delete(ctx, inTenant(tenant, fmt.Sprintf("node/%s?force=%t", url.PathEscape(id), force)))
}

// NodeKey is the public key that nodes must let in, as a line of authorized_keys.
func (c *Client) NodeKey(ctx context.Context) (string, error) {
	r, err := c.request(ctx, http.MethodGet, "/api/node-key", nil, nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	return strings.TrimSpace(string(b)), err
}

func (c *Client) delete(ctx context.Context, path string) error {
	r, err := c.request(ctx, http.MethodDelete, path, nil, nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

// Autohold asks to keep the nodes of the next failures, and gives the request's ID.
func (c *Client) Autohold(ctx context.Context, tenant, project string, q AutoholdRequest) (id string, err error) {
	r, err := c.request(ctx, http.MethodPost, ofProject(tenant, project, "autohold"), q, nil)
	if err != nil {
		return "", err
	}
	return path.Base(r.Header.Get("Location")), r.Body.Close()
}

// Autoholds lists the hold requests of a tenant, oldest first.
func (c *Client) Autoholds(ctx context.Context, tenant string) (out []Autohold, err error) {
	return out, c.get(ctx, inTenant(tenant, "autohold"), &out)
}

// AutoholdInfo reads one hold request.
func (c *Client) AutoholdInfo(ctx context.Context, tenant, id string) (*Autohold, error) {
	h := new(Autohold)
	return h, c.get(ctx, inTenant(tenant, "autohold/"+url.PathEscape(id)), h)
}

// DeleteAutohold ends a hold request; the nodes that are kept for it are given back.
func (c *Client) DeleteAutohold(ctx context.Context, tenant, id string) error {
	return c.delete(ctx, inTenant(tenant, "autohold/"+url.PathEscape(id)))
}

// Shell runs a command, or a login shell, on a node that is held or in use. say, where not nil, changes
// the size of the terminal. It returns the exit code when the command has ended.
func (c *Client) Shell(ctx context.Context, tenant, id string, start ShellStart, in io.Reader, stdout, stderr io.Writer, say <-chan ShellSay) (int, error) {
	h := http.Header{}
	if c.c.Token != "" {
		h.Set("Authorization", "Bearer "+c.c.Token)
	}
	at := c.c.URL + inTenant(tenant, "node/"+url.PathEscape(id)+"/shell")
	conn, r, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: c.c.HTTP, HTTPHeader: h})
	if err != nil {
		if r != nil && r.Body != nil {
			e := new(Error)
			if text, rerr := io.ReadAll(io.LimitReader(r.Body, 1<<20)); rerr == nil && json.Unmarshal(text, e) == nil && e.Description != "" {
				return -1, e
			}
		}
		return -1, fmt.Errorf("ask the server at %s: %w", c.c.URL, unwrapURL(err))
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := writeText(ctx, conn, start); err != nil {
		return -1, err
	}
	go sendInput(ctx, conn, in) // a read of a terminal cannot be broken off; it ends with the program
	if say != nil {
		go func() {
			for {
				select {
				case s := <-say:
					_ = writeText(ctx, conn, s)
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for {
		kind, body, err := conn.Read(ctx)
		switch {
		case err != nil:
			return -1, fmt.Errorf("the connection to the node broke: %w", err)
		case kind == websocket.MessageText:
			var end ShellEnd
			if err := json.Unmarshal(body, &end); err != nil {
				return -1, err
			}
			if end.Error != "" {
				return -1, errors.New(end.Error)
			}
			return end.Exit, nil
		case len(body) > 1 && body[0] == 2:
			_, err = stderr.Write(body[1:])
		case len(body) > 1:
			_, err = stdout.Write(body[1:])
		}
		if err != nil {
			return -1, err
		}
	}
}

func writeText(ctx context.Context, c *websocket.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Write(ctx, websocket.MessageText, b)
}

// sendInput hands on what is read, and then that nothing more will come.
func sendInput(ctx context.Context, c *websocket.Conn, in io.Reader) {
	if in != nil {
		buf := make([]byte, 16<<10)
		for {
			n, err := in.Read(buf)
			if n > 0 && c.Write(ctx, websocket.MessageBinary, buf[:n]) != nil {
				return
			}
			if err != nil {
				break
			}
		}
	}
	_ = writeText(ctx, c, ShellSay{EOF: true})
}
