package joblog

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Handler serves logs to other members of the installation, which decide who may see them:
//
//	GET /log/{build}                 the whole text; Range: bytes=... gives a part
//	GET /log/{build}?from=10&n=100   lines
//	GET /log/{build}?from=10&follow  lines as they come, until the log is finished
//	GET /log/{build}/index           the Index
//	GET /log/{build}/file/{name}     a file that was attached
//	GET /log/{build}/feed            for mirrors in other processes
//
// A log that is not here is 404. Who does not bring the token, where there is one, gets nothing.
func Handler(l *Logs, token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /log/{build}/feed", l.serveFeed)
	mux.HandleFunc("GET /log/{build}", l.serveLog)
	mux.HandleFunc("GET /log/{build}/index", func(w http.ResponseWriter, r *http.Request) {
		l.with(w, r, func(log *Reader) error {
			w.Header().Set("Content-Type", "application/json")
			return json.NewEncoder(w).Encode(log.Index())
		})
	})
	mux.HandleFunc("GET /log/{build}/file/{name}", func(w http.ResponseWriter, r *http.Request) {
		f, err := l.Attached(r.Context(), r.PathValue("build"), r.PathValue("name"))
		if err != nil {
			status(w, err)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.Copy(w, f) // the reader went away
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		have := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != "" && subtle.ConstantTimeCompare([]byte(have), []byte(token)) != 1 {
			http.Error(w, "a member of the installation brings its token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func status(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrNotFound) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// with opens the log of a request. An error after the first byte can only end the answer.
func (l *Logs) with(w http.ResponseWriter, r *http.Request, f func(*Reader) error) {
	log, err := l.Open(r.Context(), r.PathValue("build"))
	if err != nil {
		status(w, err)
		return
	}
	defer log.Close()
	if err := f(log); err != nil && r.Context().Err() == nil {
		l.cfg.Log.Warn("a log could not be served", "build", r.PathValue("build"), "error", err)
	}
}

func (l *Logs) serveLog(w http.ResponseWriter, r *http.Request) {
	l.with(w, r, func(log *Reader) error {
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("from"))
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case q.Has("follow"):
			return follow(r.Context(), w, log, from)
		case q.Has("from"):
			n, err := strconv.Atoi(q.Get("n"))
			if err != nil {
				n = batch
			}
			lines, err := log.ReadLines(r.Context(), from, min(n, 100*batch))
			if err != nil {
				return err
			}
			return writeLines(w, lines)
		}
		log.ServeText(w, r)
		return nil
	})
}

// ServeText answers with the text as it stands, or the range of bytes that the request asks for.
func (r *Reader) ServeText(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Accept-Ranges", "bytes")
	http.ServeContent(w, req, "", r.modified(), io.NewSectionReader(readerAt{req.Context(), r}, 0, r.Index().Bytes))
}

func follow(ctx context.Context, w http.ResponseWriter, log *Reader, from int) error {
	c := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = c.Flush()
	return log.Follow(ctx, from, func(_ int, lines []string) error {
		if err := writeLines(w, lines); err != nil {
			return err
		}
		return c.Flush()
	})
}

func writeLines(w io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := io.WriteString(w, l+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// readerAt lets net/http serve ranges of a log.
type readerAt struct {
	ctx context.Context
	r   *Reader
}

func (a readerAt) ReadAt(p []byte, off int64) (int, error) {
	b, err := a.r.ReadBytes(a.ctx, off, len(p))
	n := copy(p, b)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
