package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/joblog"
)

const (
	// mostLines bounds one range of a log.
	mostLines = 5000
	// mostHits bounds one answer of a search.
	mostHits = 1000
)

func (s *Server) logLines(r *request) (any, error) {
	q := r.URL.Query()
	from, err := number(q, "from", 0)
	if err != nil {
		return nil, err
	}
	n, err := number(q, "n", 500)
	if err != nil {
		return nil, err
	}
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	defer log.Close()
	i := log.Index()
	lines, err := log.ReadLines(r.Context(), from, min(n, mostLines))
	return api.LogLines{From: from, Lines: append([]string{}, lines...), Total: i.Lines, Done: i.Done}, err
}

// logStream sends the lines from one on as JSON, a batch a line, until the log is finished; with task only
// those of the tasks and playbooks that are meant by that name.
func (s *Server) logStream(w http.ResponseWriter, r *request) error {
	from, err := number(r.URL.Query(), "from", 0)
	if err != nil {
		return err
	}
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no")
	rc, enc := http.NewResponseController(w), json.NewEncoder(w)
	if err := rc.Flush(); err != nil {
		return nil
	}
	last := from
	send := func(first int, lines []string) error {
		last = first + len(lines)
		if err := enc.Encode(api.LogLines{From: first, Lines: lines, Total: last}); err != nil {
			return err
		}
		return rc.Flush()
	}
	if task := r.URL.Query().Get("task"); task != "" {
		_, err = log.FollowSections(ctx, task, from, send)
	} else {
		err = log.Follow(ctx, from, send)
	}
	if err == nil {
		_ = enc.Encode(api.LogLines{From: last, Lines: []string{}, Total: last, Done: true}) // the client may be gone
	}
	return nil
}

// untilStop is ctx, ended also when the server stops.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-stop:
		}
	}()
	return ctx, func() { cancel(); close(stop) }
}

// logText gives the log as it stands, or a range of its bytes.
func (s *Server) logText(w http.ResponseWriter, r *request) error {
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return err
	}
	defer log.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	log.ServeText(w, r.Request)
	return nil
}

// logSearch finds the lines that contain a text, whatever its case, or match a pattern.
func (s *Server) logSearch(r *request) (any, error) {
	q := r.URL.Query()
	want := joblog.Query{Text: q.Get("q")}
	var err error
	if p := q.Get("pattern"); p != "" {
		if want.Pattern, err = regexp.Compile(p); err != nil {
			return nil, badRequest("pattern: %v", err)
		}
	} else if want.Text == "" {
		return nil, badRequest("q, the text to look for, or pattern is missing")
	}
	if want.From, err = number(q, "from", 0); err != nil {
		return nil, err
	}
	if want.Limit, err = number(q, "limit", 200); err != nil {
		return nil, err
	}
	want.Limit = min(want.Limit, mostHits)
	done, err := s.searches.begin(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	defer log.Close()
	hits, more, err := log.Search(r.Context(), want)
	out := &api.LogHits{Hits: make([]api.LogHit, len(hits)), More: more}
	for i, h := range hits {
		out.Hits[i] = api.LogHit(h)
	}
	return out, err
}

// logIndex tells what is where in a log.
func (s *Server) logIndex(r *request) (any, error) {
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	defer log.Close()
	i := log.Index()
	out := api.LogIndex{Lines: i.Lines, Bytes: i.Bytes, Done: i.Done, Sections: []api.LogSection{}}
	sections := i.Sections()
	if task := r.URL.Query().Get("task"); task != "" {
		sections = i.Find(task)
	}
	for _, x := range sections {
		out.Sections = append(out.Sections, api.LogSection{Kind: x.Kind, Name: x.Name, From: x.From, To: x.To, Open: x.Open})
	}
	for _, m := range i.Marks {
		if m.Kind == "failure" {
			out.Failures = append(out.Failures, api.LogFailure{Line: m.Line, Task: m.Name, Host: m.Host})
		}
	}
	return out, nil
}

// Close codes of Zuul's console stream (semantics 5.4).
const (
	closeRequest websocket.StatusCode = 4000
	closeStream  websocket.StatusCode = 4011
)

// console speaks Zuul's websocket: the client says which build, the server sends text.
func (s *Server) console(w http.ResponseWriter, r *request) error {
	// Any page may read: there are no cookies that it could misuse.
	c, err := websocket.Accept(w, r.Request, &websocket.AcceptOptions{OriginPatterns: []string{"*"}})
	if err != nil {
		return nil // Accept has answered
	}
	defer c.CloseNow()
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	first, stop := context.WithTimeout(ctx, heartbeat)
	defer stop()
	var ask struct {
		UUID    string `json:"uuid"`
		Logfile string `json:"logfile"`
	}
	_, body, err := c.Read(first)
	if err != nil || json.Unmarshal(body, &ask) != nil || ask.UUID == "" {
		return closed(c, closeRequest, "the first message must name a build: {\"uuid\": ...}")
	}
	if s.permitBuild(r, ask.UUID) != nil { // it may be one of another tenant
		return closed(c, closeStream, "Build not found")
	}
	log, err := s.Logs.Open(ctx, ask.UUID)
	if err != nil {
		return closed(c, closeStream, "Build not found")
	}
	defer log.Close()
	ctx = c.CloseRead(ctx)
	go beat(ctx, c, cancel)
	err = log.Follow(ctx, 0, func(_ int, lines []string) error {
		return c.Write(ctx, websocket.MessageText, []byte(strings.Join(lines, "\n")+"\n"))
	})
	if err != nil && ctx.Err() == nil {
		return closed(c, closeStream, "the log cannot be read")
	}
	return closed(c, websocket.StatusNormalClosure, "No more data")
}

// beat pings until ctx ends, and ends it when nobody answers.
func beat(ctx context.Context, c *websocket.Conn, cancel context.CancelFunc) {
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p, stop := context.WithTimeout(ctx, heartbeat)
			err := c.Ping(p)
			stop()
			if err != nil {
				cancel()
				return
			}
		}
	}
}

func closed(c *websocket.Conn, code websocket.StatusCode, why string) error {
	if err := c.Close(code, why); err != nil && !errors.As(err, new(websocket.CloseError)) {
		return nil // the client was quicker
	}
	return nil
}

// hook hands a forge's webhook to its driver.
func (s *Server) hook(w http.ResponseWriter, r *request) error {
	h := s.Hooks[r.vars["name"]]
	if h == nil {
		return missing("there is no connection %q with a webhook", r.vars["name"])
	}
	h.ServeHTTP(w, r.Request)
	return nil
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	out := map[string]string{}
	for _, rt := range s.table {
		if rt.method == http.MethodGet {
			out[strings.TrimPrefix(rt.path, "/api/")] = fmt.Sprintf("%s%s", s.Public, rt.path)
		}
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeJSON(w, http.StatusOK, out)
}
