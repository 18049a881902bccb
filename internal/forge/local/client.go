package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client speaks the REST interface of a forge.
type Client struct {
	// URL is where the forge's handler is mounted.
	URL string
	// User and Token say who asks; without users at the forge, the name alone.
	User, Token string
	HTTP        *http.Client
}

// Changes lists changes, the newest first.
func (c *Client) Changes(ctx context.Context, q Filter) ([]Record, error) {
	v := url.Values{}
	for k, s := range map[string]string{"project": q.Project, "branch": q.Branch, "owner": q.Owner, "topic": q.Topic, "status": q.Status} {
		if s != "" {
			v.Set(k, s)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out []Record
	return out, c.do(ctx, http.MethodGet, "/api/changes?"+v.Encode(), nil, &out)
}

// Change reads one change with what was said of it.
func (c *Client) Change(ctx context.Context, number int) (*Detail, error) {
	out := new(Detail)
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/api/changes/%d", number), nil, out)
}

// Diff is what a patch set (0: the newest) changes, as text.
func (c *Client) Diff(ctx context.Context, number, patchset int) (string, error) {
	var out string
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/api/changes/%d/diff?patchset=%d", number, patchset), nil, &out)
}

// Review comments and votes.
func (c *Client) Review(ctx context.Context, number int, rv Review) error {
	return c.post(ctx, number, "review", Wish{Review: rv})
}

// Abandon and Restore change whether a change is open.
func (c *Client) Abandon(ctx context.Context, number int, message string) error {
	return c.post(ctx, number, "abandon", Wish{Review: Review{Message: message}})
}

// Restore opens an abandoned change again.
func (c *Client) Restore(ctx context.Context, number int, message string) error {
	return c.post(ctx, number, "restore", Wish{Review: Review{Message: message}})
}

// SetTopic names the topic; SetWIP says whether it is work in progress.
func (c *Client) SetTopic(ctx context.Context, number int, topic string) error {
	return c.post(ctx, number, "topic", Wish{Topic: topic})
}

// SetWIP marks a change as work in progress, or as ready.
func (c *Client) SetWIP(ctx context.Context, number int, wip bool) error {
	return c.post(ctx, number, "wip", Wish{WIP: wip})
}

func (c *Client) post(ctx context.Context, number int, verb string, w Wish) error {
	return c.do(ctx, http.MethodPost, fmt.Sprintf("/api/changes/%d/%s", number, verb), w, nil)
}

// do asks and decodes; a refusal of the forge comes back in its own words.
func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, in)
	if err != nil {
		return err
	}
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Token)
	}
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		if u := new(url.Error); errors.As(err, &u) {
			err = u.Err // the address is in our own sentence
		}
		return fmt.Errorf("ask the forge at %s: %w", c.URL, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var p problem
		if json.Unmarshal(b, &p) == nil && p.Error != "" {
			return refusal{p.Error}
		}
		return fmt.Errorf("%s %s: %s: %s", method, req.URL.Redacted(), resp.Status, oneLine(string(b)))
	}
	switch into := into.(type) {
	case nil:
		return nil
	case *string:
		*into = string(b)
		return nil
	}
	return json.Unmarshal(b, into)
}
