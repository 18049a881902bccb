package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Key is the public key to which secrets of a project are encrypted, as PEM.
func (c *Client) Key(ctx context.Context, tenant, project string) (string, error) {
	return c.text(ctx, inTenant(tenant, "key/"+project+".pub"))
}

// SSHKey is the public SSH key that jobs of the project's post-review pipelines have, in OpenSSH's form.
func (c *Client) SSHKey(ctx context.Context, tenant, project string) (string, error) {
	return c.text(ctx, inTenant(tenant, "project-ssh-key/"+project+".pub"))
}

// text reads a small answer that is no JSON.
func (c *Client) text(ctx context.Context, path string) (string, error) {
	r, err := c.request(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read the answer to %s: %w", path, err)
	}
	return strings.TrimSpace(string(b)) + "\n", nil
}
