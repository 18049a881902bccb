package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/settings"
)

// connection is a forge with what it needs of this process.
type connection struct {
	forge.Forge
	// mounts are its handlers, by the prefix of their paths.
	mounts map[string]http.Handler
}

// drivers make the connections of the configuration: the one place that knows which forges there are.
var drivers = map[string]func(context.Context, *process, settings.Connection) (*connection, error){
	"local": openLocal,
}

// mountPoint is where the built-in forge of a name is served.
func mountPoint(name string) string { return "/forge/" + name + "/" }

// openLocal opens the built-in forge.
func openLocal(ctx context.Context, p *process, c settings.Connection) (*connection, error) {
	at := mountPoint(c.Name)
	f, err := local.New(ctx, local.Config{
		Name: c.Name, Host: c.Host, Dir: c.Path, Store: p.kv, BaseURL: strings.TrimSuffix(p.set.Root, "/") + strings.TrimSuffix(at, "/"),
		PageURL:  strings.TrimSuffix(p.set.Root, "/") + "/change/" + c.Name + "/",
		Projects: c.Projects, AdminToken: c.Admin, MaxDependencies: c.MaxDependencies, Log: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.onClose(f.Close)
	return &connection{Forge: f, mounts: map[string]http.Handler{at: http.StripPrefix(strings.TrimSuffix(at, "/"), f.Handler())}}, nil
}

func (p *process) openForges(ctx context.Context) error {
	var all []forge.Forge
	for _, c := range p.set.Connections {
		make := drivers[c.Driver]
		if make == nil {
			return fmt.Errorf("connection %s: this gozer has no driver %q yet", c.Name, c.Driver)
		}
		f, err := make(ctx, p, c)
		if err != nil {
			return fmt.Errorf("connection %s: %w", c.Name, err)
		}
		p.connections = append(p.connections, f)
		all = append(all, f.Forge)
	}
	var err error
	p.forges, err = forge.NewSet(all...)
	return err
}

// serveForges receives the events of those connections that do it by themselves.
func (p *process) serveForges(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range p.connections {
		if s, ok := c.Forge.(forge.Source); ok {
			g.Go(func() error { return s.Serve(ctx, p.sink) })
		}
	}
	return g.Wait()
}

// shown is what the API tells of the connections.
func (p *process) shown() []api.Connection {
	out := make([]api.Connection, len(p.connections))
	for i, c := range p.connections {
		out[i] = api.Connection{Name: c.Name(), Driver: c.Driver(), Canonical: c.Host()}
	}
	return out
}

// publicRemote is from where anybody fetches a project: without what a connection logs in with.
func (p *process) publicRemote(pr change.Project) string {
	r, err := p.forges.Remote(pr)
	if err != nil {
		return ""
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme == "" {
		return r.URL
	}
	u.User = nil
	return u.String()
}
