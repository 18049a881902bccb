package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client asks a server. Its zero value is of no use; make it with New.
type Client struct{ c ClientConfig }

// ClientConfig of New.
type ClientConfig struct {
	// URL of the server, such as http://127.0.0.1:9000.
	URL string
	// Token is sent as bearer token, if there is one.
	Token string
	// HTTP is the client underneath; nil: one without a time limit, because streams have none.
	HTTP *http.Client
}

// New makes a client.
func New(c ClientConfig) *Client {
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	return &Client{c}
}

// request sends one request. An answer that is an error is an *Error.
func (c *Client) request(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.c.URL+path, in)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	if c.c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.c.Token)
	}
	r, err := c.c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server at %s: %w", c.c.URL, unwrapURL(err))
	}
	if r.StatusCode < 400 {
		return r, nil
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	e := &Error{Code: r.StatusCode}
	if err != nil || json.Unmarshal(text, e) != nil || e.Description == "" {
		e.Description = fmt.Sprintf("%s %s: the server answers %s", method, path, r.Status)
	}
	return nil, e
}

// unwrapURL leaves the address out, which the caller's sentence has already.
func unwrapURL(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *Client) get(ctx context.Context, path string, answer any) error {
	r, err := c.request(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		return fmt.Errorf("read the answer to %s: %w", path, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, path string, body any) error {
	r, err := c.request(ctx, http.MethodPost, path, body, nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

func inTenant(tenant, rest string) string {
	return "/api/tenant/" + url.PathEscape(tenant) + "/" + rest
}

func ofProject(tenant, project, rest string) string {
	return inTenant(tenant, "project/"+url.PathEscape(project)+"/"+rest)
}

// Tenants lists the tenants' names.
func (c *Client) Tenants(ctx context.Context) ([]string, error) {
	var list []Name
	err := c.get(ctx, "/api/tenants", &list)
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Name
	}
	return out, err
}

// Components lists the live processes by role, with what each of them holds.
func (c *Client) Components(ctx context.Context) (out map[string][]Component, err error) {
	return out, c.get(ctx, "/api/components", &out)
}

// Graph reads a buildset's jobs in time.
func (c *Client) Graph(ctx context.Context, tenant, buildset string) (*Graph, error) {
	g := new(Graph)
	return g, c.get(ctx, inTenant(tenant, "buildset/"+url.PathEscape(buildset)+"/graph"), g)
}

// Races are what jobs of a buildset touched without an order between them.
func (c *Client) Races(ctx context.Context, tenant, buildset string) (*Races, error) {
	r := new(Races)
	return r, c.get(ctx, inTenant(tenant, "buildset/"+url.PathEscape(buildset)+"/races"), r)
}

// Locks lists the locks that pipelines of the tenant share.
func (c *Client) Locks(ctx context.Context, tenant string) (out []Lock, err error) {
	return out, c.get(ctx, inTenant(tenant, "locks"), &out)
}

// Builds lists finished builds, newest first; the query is Zuul's (project, pipeline, job_name...).
func (c *Client) Builds(ctx context.Context, tenant string, query url.Values) (out []Build, err error) {
	return out, c.get(ctx, inTenant(tenant, "builds?"+query.Encode()), &out)
}

// Buildsets lists buildsets, newest first.
func (c *Client) Buildsets(ctx context.Context, tenant string, query url.Values) (out []Buildset, err error) {
	return out, c.get(ctx, inTenant(tenant, "buildsets?"+query.Encode()), &out)
}

// Enqueue, Dequeue, Promote and Pause are an operator's wishes; the server has written them
// down when they return nil.

// Enqueue puts a change or a ref of a project into a pipeline.
func (c *Client) Enqueue(ctx context.Context, tenant, project string, q EnqueueRequest) error {
	return c.post(ctx, ofProject(tenant, project, "enqueue"), q)
}

// Dequeue takes a change or a ref out.
func (c *Client) Dequeue(ctx context.Context, tenant, project string, q DequeueRequest) error {
	return c.post(ctx, ofProject(tenant, project, "dequeue"), q)
}

// Promote puts changes to the front of their queues.
func (c *Client) Promote(ctx context.Context, tenant string, q PromoteRequest) error {
	return c.post(ctx, inTenant(tenant, "promote"), q)
}

// Pause stops a pipeline from starting anything new, or lets it go on.
func (c *Client) Pause(ctx context.Context, tenant string, q PauseRequest) error {
	return c.post(ctx, inTenant(tenant, "pause"), q)
}

// Reconfigure has the tenant's configuration read again.
func (c *Client) Reconfigure(ctx context.Context, tenant string, q ReconfigureRequest) error {
	return c.post(ctx, inTenant(tenant, "reconfigure"), q)
}

// Follow keeps a view of a tenant up to date and calls fn after every event, until ctx ends, fn gives an
// error (which is returned) or the server answers with an error. A broken connection is taken up again
// where it was.
func (c *Client) Follow(ctx context.Context, tenant string, fn func(*View) error) error {
	v := &View{}
	for {
		err := c.events(ctx, tenant, v, fn)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if stop := new(stopped); errors.As(err, &stop) {
			return stop.err
		}
		refused := new(Error)
		if errors.As(err, &refused) || v.Version == "" {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// stopped carries the error of a caller's function through.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

func (c *Client) events(ctx context.Context, tenant string, v *View, fn func(*View) error) error {
	h := http.Header{}
	if v.Version != "" {
		h.Set("Last-Event-ID", v.Version)
	}
	r, err := c.request(ctx, http.MethodGet, inTenant(tenant, "events"), nil, h)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	in := bufio.NewReaderSize(r.Body, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var ev Event
		if err := json.Unmarshal([]byte(data), &ev); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		v.Apply(ev)
		if err := fn(v); err != nil {
			return &stopped{err}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Log reads a build's log from a line on (0 is the first) to its end, as it grows, or to its present end
// where follow is false. A broken connection is taken up again at the line where it was.
func (c *Client) Log(ctx context.Context, build string, from int, follow bool, fn func(lines []string) error) error {
	return c.log(ctx, build, "", from, follow, fn)
}

// LogOf is Log for the parts of tasks and playbooks that are meant by a name, as they grow.
func (c *Client) LogOf(ctx context.Context, build, task string, fn func(lines []string) error) error {
	return c.log(ctx, build, task, 0, true, fn)
}

// LogIndex tells what is where in a log; with a name, only the tasks and playbooks that are meant by it.
func (c *Client) LogIndex(ctx context.Context, build, task string) (*LogIndex, error) {
	i := new(LogIndex)
	return i, c.get(ctx, "/api/build/"+url.PathEscape(build)+"/log/index?"+url.Values{"task": {task}}.Encode(), i)
}

// ExplainBuild says why a finished build came to what it came to.
func (c *Client) ExplainBuild(ctx context.Context, tenant, build string) (*ExplainedBuild, error) {
	e := new(ExplainedBuild)
	return e, c.get(ctx, inTenant(tenant, "build/"+url.PathEscape(build)+"/explain"), e)
}

// Recipe tells what a build was made of.
func (c *Client) Recipe(ctx context.Context, tenant, build string) (*Recipe, error) {
	r := new(Recipe)
	return r, c.get(ctx, inTenant(tenant, "build/"+url.PathEscape(build)+"/recipe"), r)
}

// Trial tells with what a job would start for a change of the project now; an empty pipeline is the first that has it.
func (c *Client) Trial(ctx context.Context, tenant, project, number, job, pipeline string) (*Recipe, error) {
	r := new(Recipe)
	q := url.Values{"project": {project}, "change": {number}, "job": {job}, "pipeline": {pipeline}}
	return r, c.get(ctx, inTenant(tenant, "recipe?"+q.Encode()), r)
}

// LogRange reads lines from one on up to another, which is not among them.
func (c *Client) LogRange(ctx context.Context, build string, from, to int, fn func(lines []string) error) error {
	for from < to {
		var l LogLines
		err := c.get(ctx, fmt.Sprintf("/api/build/%s/log?from=%d&n=%d", url.PathEscape(build), from, min(to-from, 5000)), &l)
		if err != nil || len(l.Lines) == 0 {
			return err
		}
		if err := fn(l.Lines); err != nil {
			return err
		}
		from += len(l.Lines)
	}
	return nil
}

// LogSearch finds lines that contain a text, whatever its case.
func (c *Client) LogSearch(ctx context.Context, build, text string, from int) (*LogHits, error) {
	h := new(LogHits)
	q := url.Values{"q": {text}, "from": {fmt.Sprint(from)}, "limit": {"1000"}}
	return h, c.get(ctx, "/api/build/"+url.PathEscape(build)+"/log/search?"+q.Encode(), h)
}

func (c *Client) log(ctx context.Context, build, task string, from int, follow bool, fn func(lines []string) error) error {
	path := "/api/build/" + url.PathEscape(build) + "/log"
	for {
		var l LogLines
		var err error
		if follow {
			err = c.stream(ctx, path, task, &from, fn)
			if err == nil {
				return nil
			}
			refused, stop := new(Error), new(stopped)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.As(err, &stop):
				return stop.err
			case errors.As(err, &refused):
				return err
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		if err = c.get(ctx, fmt.Sprintf("%s?from=%d&n=5000", path, from), &l); err != nil || len(l.Lines) == 0 {
			return err
		}
		if err := fn(l.Lines); err != nil {
			return err
		}
		from += len(l.Lines)
	}
}

// stream follows one connection; nil: the log is done.
func (c *Client) stream(ctx context.Context, path, task string, from *int, fn func([]string) error) error {
	q := url.Values{"from": {fmt.Sprint(*from)}}
	if task != "" {
		q.Set("task", task)
	}
	r, err := c.request(ctx, http.MethodGet, path+"/stream?"+q.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	for d := json.NewDecoder(r.Body); ; {
		var l LogLines
		if err := d.Decode(&l); err != nil {
			return err
		}
		if len(l.Lines) > 0 {
			if err := fn(l.Lines); err != nil {
				return &stopped{err}
			}
			*from = l.From + len(l.Lines)
		}
		if l.Done {
			return nil
		}
	}
}
