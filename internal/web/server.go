// Package web is Gozer's face: the HTTP API (Zuul's endpoints and Gozer's own), the stream of live
// events, the logs of builds, the forges' webhooks and the page. It owns nothing: it reads the records
// that other workers write, follows them, and answers from what it saw; what an operator wishes becomes
// a record that the owner of the pipeline reads. Any number of web workers may run side by side.
package web

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Layouts tells what the configuration of tenants declares. What does not exist is store.ErrNotFound.
type Layouts interface {
	// Catalog reads what a tenant declares; an empty one where it has not been loaded yet.
	Catalog(ctx context.Context, tenant string) (*Catalog, error)
	// Freeze makes the job graph that the tip of a branch would get in a pipeline. Project is a
	// name or a canonical name.
	Freeze(ctx context.Context, tenant, pipeline, project, branch string) (*job.Graph, error)
	// LeftOut tells which jobs the layout names for an item's changes that do not run for them, and why.
	LeftOut(ctx context.Context, tenant, layout, pipeline string, changes []*change.Change, trigger event.Ref) ([]api.ExplainedJob, error)
}

// Catalog is what a tenant declares, in the words of the API.
type Catalog struct {
	Errors    []api.ConfigError
	Jobs      []api.JobSummary
	Projects  []api.Project
	Pipelines []api.PipelineSummary
	Labels    []string
	// Variants and Details are what Zuul answers about one job (by name) and one project (by
	// canonical name), where it is known.
	Variants map[string][]any
	Details  map[string]any
}

// Keys gives the public keys of projects, as PEM and in OpenSSH's form. What does not exist is
// store.ErrNotFound.
type Keys interface {
	Public(ctx context.Context, tenant, project string) (pem, ssh string, err error)
}

// Logs opens the logs of builds, and the further files that are kept for them.
type Logs interface {
	Open(ctx context.Context, build string) (*joblog.Reader, error)
	Attached(ctx context.Context, build, name string) (io.ReadCloser, error)
}

// Config of New. Store, History and Logs must be there; everything else may be left out, and what needs
// it then answers that it does not exist.
type Config struct {
	Store   *store.Store
	History *history.DB
	Logs    Logs
	Layouts Layouts
	Keys    Keys
	Auth    *auth.Auth
	// Health tells what else keeps the process from its work; nil is nothing.
	Health func(context.Context) error
	// Connections are shown; Hooks receive their webhooks, by connection name; Mounts are further
	// handlers by their prefix (the git and REST interface of the built-in forge).
	Connections []api.Connection
	Hooks       map[string]http.Handler
	Mounts      map[string]http.Handler
	// Assets is the built page (index.html and its files).
	Assets fs.FS
	// Remote tells from where git fetches a project; empty: not known. nil: of none.
	Remote func(p change.Project) string
	// Trial finds out with what a job would start for a change now; empty pipeline: in the first that has it. What
	// does not exist is store.ErrNotFound. nil: nobody can.
	Trial func(ctx context.Context, tenant, project, number, job, pipeline string) (*pipeline.Recipe, error)
	// Metrics are what /metrics tells; nil: the process's own.
	Metrics prometheus.Gatherer
	// Public is the address that people reach the server by, without a slash at the end; it is told
	// to dashboards. Version is the program's.
	Public  string
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

// Server answers. Make it with New; it is a worker and a handler at once.
type Server struct {
	Config
	feeds *feeds
	mux   *http.ServeMux
	table []*route
	// stopping ends the streams, which would otherwise keep the HTTP server from shutting down.
	stopping chan struct{}
	// trials and searches bound those at one time: anybody may ask for them.
	trials, searches slots
}

// New makes a server; Run makes its answers live.
func New(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Auth == nil {
		var err error
		if c.Auth, err = auth.New(auth.Config{}); err != nil {
			return nil, err
		}
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.DefaultGatherer
	}
	if c.Store == nil || c.History == nil || c.Logs == nil || c.Assets == nil {
		return nil, errors.New("web needs a store, a history, logs and the page")
	}
	s := &Server{Config: c, stopping: make(chan struct{}), trials: make(slots, 2), searches: make(slots, 4)}
	s.feeds = newFeeds(c.Store, newEstimates(c.History, c.Now), c.Now, c.Log)
	s.mux = http.NewServeMux()
	s.table = s.routes()
	s.mux.Handle("/api", http.HandlerFunc(s.index))
	s.mux.Handle("/api/", http.HandlerFunc(s.dispatch))
	s.mux.HandleFunc("GET /health/live", s.live)
	s.mux.HandleFunc("GET /health/ready", s.ready)
	s.mux.HandleFunc("GET /health/status", s.health)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
	s.mux.HandleFunc("GET /openapi.json", s.openAPI)
	for prefix, h := range c.Mounts {
		s.mux.Handle(prefix, h)
	}
	s.mux.Handle("/", s.page())
	return s, nil
}

// slots are as many as there is room for.
type slots chan struct{}

// begin waits for a slot, at most as long as ctx lasts; it is kept until done is called.
func (s slots) begin(ctx context.Context) (done func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Run follows the records until ctx ends; then open streams end too. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopping)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.feeds.run(ctx) })
	err := g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) { text(w, "ok\n") }

// ready: the page would show the truth, the store and the history answer.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := s.whyNotReady(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	text(w, "ok\n")
}

func (s *Server) whyNotReady(ctx context.Context) error {
	if s.Health != nil {
		if err := s.Health(ctx); err != nil {
			return err
		}
	}
	if !s.feeds.isReady() {
		return errors.New("the pipelines have not been read yet")
	}
	if err := s.History.Ping(ctx); err != nil {
		return errors.New("the history does not answer: " + err.Error())
	}
	return nil
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	state := map[string]any{"version": s.Version, "ready": true}
	if err := s.whyNotReady(r.Context()); err != nil {
		state["ready"], state["why"] = false, err.Error()
	}
	writeJSON(w, http.StatusOK, state)
}

func text(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(body)) // a client that went away needs no answer
}
