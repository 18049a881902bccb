package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/settings"
)

// connection is a forge with what it needs of this process.
type connection struct {
	forge.Forge
	// mounts are its handlers, by the prefix of their paths.
	mounts map[string]http.Handler
}

// drivers make the connections of the configuration: the one place that knows which forges there are.
var drivers = map[string]func(*process, settings.Connection) (*connection, error){}

func (p *process) openForges(context.Context) error {
	var all []forge.Forge
	for _, c := range p.set.Connections {
		make := drivers[c.Driver]
		if make == nil {
			return fmt.Errorf("connection %s: this gozer has no driver %q yet", c.Name, c.Driver)
		}
		f, err := make(p, c)
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
	for _, c := range p.connections {
		if s, ok := c.Forge.(forge.Source); ok {
			return s.Serve(ctx, p.sink)
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// shown is what the API tells of the connections.
func (p *process) shown() []api.Connection {
	out := make([]api.Connection, len(p.connections))
	for i, c := range p.connections {
		out[i] = api.Connection{Name: c.Name(), Driver: c.Driver(), Canonical: c.Host()}
	}
	return out
}
