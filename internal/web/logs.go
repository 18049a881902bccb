package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	// piece is how much of a log is read at once to be sent on.
	piece = 256 << 10
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

// logStream sends the lines from one on as JSON, a batch a line, until the log is finished.
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
	err = log.Follow(ctx, from, func(first int, lines []string) error {
		last = first + len(lines)
		if err := enc.Encode(api.LogLines{From: first, Lines: lines, Total: last}); err != nil {
			return err
		}
		return rc.Flush()
	})
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

func (s *Server) logText(w http.ResponseWriter, r *request) error {
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return err
	}
	defer log.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for at := int64(0); ; {
		b, err := log.ReadBytes(r.Context(), at, piece)
		if err != nil || len(b) == 0 {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return nil // the client went away
		}
		at += int64(len(b))
	}
}

// logSearch finds the lines that contain a text, whatever their case.
func (s *Server) logSearch(r *request) (any, error) {
	q := r.URL.Query()
	want := strings.ToLower(q.Get("q"))
	if want == "" {
		return nil, badRequest("q, the text to look for, is missing")
	}
	from, err := number(q, "from", 0)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", 200)
	if err != nil {
		return nil, err
	}
	limit = min(limit, mostHits)
	log, err := s.Logs.Open(r.Context(), r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return search(r.Context(), log, want, from, limit)
}

func search(ctx context.Context, log *joblog.Reader, want string, from, limit int) (*api.LogHits, error) {
	out := &api.LogHits{Hits: []api.LogHit{}}
	for {
		lines, err := log.ReadLines(ctx, from, mostLines)
		if err != nil || len(lines) == 0 {
			return out, err
		}
		for i, l := range lines {
			if !strings.Contains(strings.ToLower(l), want) {
				continue
			}
			if len(out.Hits) == limit {
				out.More = true
				return out, nil
			}
			out.Hits = append(out.Hits, api.LogHit{Line: from + i, Text: l})
		}
		from += len(lines)
	}
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
		return missing("a webhook for connection %s", r.vars["name"])
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
