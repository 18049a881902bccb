package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gozer-ci/gozer/internal/forge"
)

// Detail is a change with everything that was said of it.
type Detail struct {
	Record
	URL      string    `json:"url"`
	Ref      string    `json:"ref"`
	Missing  []string  `json:"missing_labels"`
	Comments []Comment `json:"comments"`
}

// Wish is what a person asks of a change; which fields count depends on the verb.
type Wish struct {
	Review
	Topic string `json:"topic,omitempty"`
	WIP   bool   `json:"wip,omitempty"`
}

// problem is the body of an answer that is no success.
type problem struct {
	Error string `json:"error"`
}

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// rest adds the REST interface:
//
//	GET  /api/projects                       names
//	GET  /api/changes?project=&branch=&owner=&topic=&status=&limit=
//	GET  /api/changes/N                      Detail
//	GET  /api/changes/N/diff?patchset=P      text
//	POST /api/changes/N/review               Review
//	POST /api/changes/N/abandon|restore      Wish.Message
//	POST /api/changes/N/topic|wip            Wish.Topic, Wish.WIP
func (f *Forge) rest(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/projects", func(w http.ResponseWriter, _ *http.Request) {
		names, err := f.Projects()
		f.write(w, names, err)
	})
	mux.HandleFunc("GET /api/changes", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, _ := strconv.Atoi(q.Get("limit"))
		if limit <= 0 || limit > 500 {
			limit = 100
		}
		list, err := f.List(r.Context(), Filter{Project: q.Get("project"), Branch: q.Get("branch"), Owner: q.Get("owner"),
			Topic: q.Get("topic"), Status: q.Get("status"), Limit: limit})
		f.write(w, list, err)
	})
	mux.HandleFunc("GET /api/changes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := changeNumber(r)
		var d *Detail
		if err == nil {
			d, err = f.detail(r, n)
		}
		f.write(w, d, err)
	})
	mux.HandleFunc("GET /api/changes/{n}/diff", f.diff)
	for verb, do := range map[string]func(*http.Request, int, identity, Wish) (*Record, error){
		"review": func(r *http.Request, n int, by identity, v Wish) (*Record, error) {
			return f.review(r.Context(), n, by, v.Review)
		},
		"abandon": func(r *http.Request, n int, by identity, v Wish) (*Record, error) {
			return f.setStatus(r.Context(), n, by, StatusNew, StatusAbandoned, "change-abandoned", v.Message)
		},
		"restore": func(r *http.Request, n int, by identity, v Wish) (*Record, error) {
			return f.setStatus(r.Context(), n, by, StatusAbandoned, StatusNew, "change-restored", v.Message)
		},
		"topic": func(r *http.Request, n int, by identity, v Wish) (*Record, error) {
			return f.SetTopic(r.Context(), n, by.Name, v.Topic)
		},
		"wip": func(r *http.Request, n int, by identity, v Wish) (*Record, error) {
			return f.SetWIP(r.Context(), n, by.Name, v.WIP)
		},
	} {
		mux.HandleFunc("POST /api/changes/{n}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			by, err := f.who(r)
			if err != nil {
				deny(w)
				return
			}
			if by.Name == "" {
				by = f.named("anonymous")
			}
			var wish Wish
			n, err := changeNumber(r)
			if err == nil {
				if derr := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&wish); derr != nil {
					err = refuse("the body is no JSON of the right form: %v", derr)
				}
			}
			var rec *Record
			if err == nil {
				rec, err = do(r, n, by, wish)
			}
			f.write(w, rec, err)
		})
	}
}

func changeNumber(r *http.Request) (int, error) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("change %q: %w", r.PathValue("n"), forge.ErrNotFound)
	}
	return n, nil
}

func (f *Forge) detail(r *http.Request, n int) (*Detail, error) {
	rec, _, err := f.record(r.Context(), n)
	if err != nil {
		return nil, err
	}
	d := &Detail{Record: *rec, URL: f.URL(rec.Project, n), Ref: rec.ref(), Missing: f.missing(rec.Votes)}
	d.Comments, err = f.Comments(r.Context(), n)
	return d, err
}

// diff shows what a patch set changes against its parent.
func (f *Forge) diff(w http.ResponseWriter, r *http.Request) {
	n, err := changeNumber(r)
	var text string
	if err == nil {
		text, err = f.diffOf(r, n)
	}
	if err != nil {
		f.write(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text))
}

// maxDiff bounds the text of a difference.
const maxDiff = 2 << 20

func (f *Forge) diffOf(r *http.Request, n int) (string, error) {
	rec, _, err := f.record(r.Context(), n)
	if err != nil {
		return "", err
	}
	ps := rec.Current
	if want, _ := strconv.Atoi(r.URL.Query().Get("patchset")); want > 0 && want != ps.Number {
		if _, err := f.read(r.Context(), f.keyPatchset(n, want), &ps); err != nil {
			return "", err
		}
	}
	if len(ps.Parents) == 0 {
		return "", refuse("patch set %d has no parent to compare with", ps.Number)
	}
	repo, err := f.repo(rec.Project)
	if err != nil {
		return "", err
	}
	return repo.Diff(r.Context(), ps.Parents[0], ps.Commit, maxDiff)
}

// write answers with a value or an error.
func (f *Forge) write(w http.ResponseWriter, v any, err error) {
	code := http.StatusOK
	switch {
	case err == nil:
	case errors.Is(err, forge.ErrNotFound):
		code, v = http.StatusNotFound, problem{err.Error()}
	case Refused(err):
		code, v = http.StatusConflict, problem{err.Error()}
	case errors.Is(err, errRace):
		code, v = http.StatusServiceUnavailable, problem{err.Error()}
	default:
		f.Log.Error("REST of the built-in forge", "connection", f.Config.Name, "error", err)
		code, v = http.StatusInternalServerError, problem{"internal error; the log of gozer says more"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
