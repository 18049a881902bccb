package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// ErrStopped is how Run ends after the commands stop and graceful.
var ErrStopped = errors.New("the executor was told to stop")

// Commands that an executor obeys, with what they do.
var Commands = []struct{ Name, Does string }{
	{"pause", "take no more builds, also after it was started anew, until unpause"},
	{"unpause", "take builds again"},
	{"graceful", "take no more builds, and stop when those that run have ended"},
	{"stop", "abort the builds that run, which are run again elsewhere, and stop"},
	{"verbose", "run Ansible with -vvv; what it says is in the executor's own log"},
	{"unverbose", "run Ansible as ever"},
	{"keep", "keep the folders of builds when they end"},
	{"nokeep", "remove the folders of builds when they end"},
}

// Status is what an executor tells of itself.
type Status struct {
	ID   string `json:"id"`
	Host string `json:"host"`
	Zone string `json:"zone,omitempty"`
	// State is running, paused or stopping.
	State  string       `json:"state"`
	Paused *store.Pause `json:"paused,omitempty"`
	// Refused is why it takes no builds although it runs.
	Refused string  `json:"refused,omitempty"`
	Verbose bool    `json:"verbose"`
	Keep    bool    `json:"keep"`
	Builds  []Build `json:"builds"`
}

// Build is a build that runs.
type Build struct {
	Build   pipeline.BuildID `json:"build"`
	Tenant  string           `json:"tenant"`
	Job     string           `json:"job"`
	Started time.Time        `json:"started"`
}

// CommandHandler serves GET /status, and POST /NAME?by=WHO&reason=WHY for each of Commands; the answer is the Status
// after it. Whoever can reach it may do all this.
func (x *Executor) CommandHandler() http.Handler {
	mux := http.NewServeMux()
	tell := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(x.Status()) // nobody listens any more
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { tell(w) })
	mux.HandleFunc("POST /{command}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch err := x.Command(r.Context(), r.PathValue("command"), q.Get("by"), q.Get("reason")); {
		case errors.Is(err, errUnknown):
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		tell(w)
	})
	return mux
}

var errUnknown = errors.New("an executor knows no such command")

// Command carries out one of Commands, for who says so and why. A pause holds at once; the error is that it could not
// be written down.
func (x *Executor) Command(ctx context.Context, name, by, reason string) error {
	var p *store.Pause
	switch name {
	case "pause":
		p = &store.Pause{Reason: reason, By: by, Since: time.Now(), Host: x.Host}
		fallthrough
	case "unpause":
		x.setting.Lock()
		defer x.setting.Unlock()
	}
	if err := x.obey(name, p); err != nil {
		return err
	}
	x.Log.Info("command", "command", name, "by", by, "reason", reason)
	select {
	case x.changed <- struct{}{}:
	default: // somebody will look already
	}
	if x.Component == "" || name != "pause" && name != "unpause" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := x.Store.Pause(ctx, "executor", x.Component, p); err != nil {
		return fmt.Errorf("%s holds for as long as this executor runs, and could not be written down; say it once more: %w", name, err)
	}
	return nil
}

// recallPause takes over what is written down of a pause.
func (x *Executor) recallPause(ctx context.Context) error {
	if x.Component == "" {
		return nil
	}
	x.setting.Lock()
	defer x.setting.Unlock()
	p, err := x.Store.Paused(ctx, "executor", x.Component)
	if err != nil {
		return fmt.Errorf("look whether this executor is paused: %w", err)
	}
	if p != nil {
		x.Log.Info("this executor is paused, as before", "by", p.By, "since", p.Since, "reason", p.Reason)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.paused = p
	return nil
}

// obey does what a command does in this process.
func (x *Executor) obey(name string, p *store.Pause) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch name {
	case "pause", "unpause":
		x.paused = p
	case "graceful":
		x.draining = true
	case "stop":
		x.draining = true
		x.end()
	case "verbose", "unverbose":
		x.verbose = name == "verbose"
	case "keep", "nokeep":
		x.keep = name == "keep"
	default:
		var names []string
		for _, c := range Commands {
			names = append(names, c.Name)
		}
		return fmt.Errorf("%w as %q, but %s", errUnknown, name, strings.Join(names, ", "))
	}
	return nil
}

// Status tells how the executor is.
func (x *Executor) Status() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := Status{ID: x.ID, Host: x.Host, Zone: x.Zone, State: x.state(), Paused: x.paused, Refused: x.refused, Verbose: x.verbose, Keep: x.keep, Builds: []Build{}}
	for _, b := range x.running {
		s.Builds = append(s.Builds, b)
	}
	slices.SortFunc(s.Builds, func(a, b Build) int { return a.Started.Compare(b.Started) })
	return s
}

// state is the word for it, with x locked.
func (x *Executor) state() string {
	switch {
	case x.draining:
		return "stopping"
	case x.paused != nil:
		return "paused"
	}
	return "running"
}

// announce keeps the record of this executor up to date until ctx ends.
func (x *Executor) announce(ctx context.Context, m store.Member) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.changed:
		}
		x.mu.Lock()
		m.State, m.Paused = x.state(), x.paused
		x.mu.Unlock()
		if err := x.Store.Join(ctx, x.Session, m); err != nil && ctx.Err() == nil {
			x.Log.Warn("the others do not know of the state of this executor", "state", m.State, "error", err)
		}
	}
}

func (x *Executor) keeps() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.keep
}

// chatter is where Ansible's own words go: to this executor's log, where it is to be verbose; else nil.
func (x *Executor) chatter(b *build) io.Writer {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.verbose {
		return nil
	}
	return &lines{tell: func(l string) { b.log.Info("ansible", "line", b.mask.String(l)) }}
}

// lines tells whole lines of what is written to it.
type lines struct {
	tell func(string)
	part []byte
}

func (w *lines) Write(p []byte) (int, error) {
	w.part = append(w.part, p...)
	for {
		l, rest, ok := bytes.Cut(w.part, []byte("\n"))
		if !ok && len(l) < joblog.Longest {
			return len(p), nil
		}
		w.tell(string(l))
		w.part = rest
	}
}

// begun remembers a build while it runs.
func (x *Executor) begun(s *pipeline.Start, tenant string) (ended func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running[s.Build] = Build{Build: s.Build, Tenant: tenant, Job: s.Job.Name, Started: time.Now()}
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.running, s.Build)
	}
}
