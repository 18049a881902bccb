package web

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// recipe tells what a build was made of.
func (s *Server) recipe(r *request) (any, error) {
	if _, err := s.History.Build(r.Context(), r.tenant, r.vars["uuid"]); err != nil {
		return nil, err
	}
	f, err := s.Logs.Attached(r.Context(), r.vars["uuid"], pipeline.RecipeFile)
	if errors.Is(err, joblog.ErrNotFound) {
		return nil, missing("build %s has no recipe: it never got as far as its sources, or its files are kept no longer", r.vars["uuid"])
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read the recipe of build %s: %w", r.vars["uuid"], err)
	}
	out := &api.Recipe{Remotes: map[string]string{}}
	var b pipeline.Recipe
	if out.Build, err = io.ReadAll(z); err == nil {
		err = json.Unmarshal(out.Build, &b)
	}
	if err != nil {
		return nil, fmt.Errorf("read the recipe of build %s: %w", r.vars["uuid"], err)
	}
	s.remotes(out, &b)
	return out, nil
}

// remotes tells from where the projects of a recipe can be fetched.
func (s *Server) remotes(out *api.Recipe, of *pipeline.Recipe) {
	if s.Remote == nil {
		return
	}
	for _, p := range of.Projects() {
		if u := s.Remote(p); u != "" {
			out.Remotes[p.Canonical()] = u
		}
	}
}

// trial tells with what a job would start for a change. Two are looked for at a time: each merges.
func (s *Server) trial(r *request) (any, error) {
	q := r.URL.Query()
	for _, name := range []string{"project", "change", "job"} {
		if q.Get(name) == "" {
			return nil, badRequest("say which %s", name)
		}
	}
	if s.Trial == nil {
		return nil, missing("this process cannot merge changes")
	}
	done, err := s.trials.begin(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := s.Trial(r.Context(), r.tenant, q.Get("project"), q.Get("change"), q.Get("job"), q.Get("pipeline"))
	if err != nil {
		return nil, err
	}
	out := &api.Recipe{Remotes: map[string]string{}}
	if out.Build, err = json.Marshal(b); err != nil {
		return nil, err
	}
	s.remotes(out, b)
	return out, nil
}

// logFile gives a file that is kept beside the log of a build.
func (s *Server) logFile(w http.ResponseWriter, r *request) error {
	name := r.vars["name"]
	if name == pipeline.RecipeFile {
		return missing("there is no file %q", name) // told with the tenant's build, where who may see that is looked at
	}
	f, err := s.Logs.Attached(r.Context(), r.vars["uuid"], name)
	if err != nil {
		return err
	}
	defer f.Close()
	kind, ok := map[string]string{".json": "application/json", ".txt": "text/plain; charset=utf-8"}[path.Ext(name)]
	if !ok {
		kind = "application/octet-stream" // never a page of ours
	}
	w.Header().Set("Content-Type", kind)
	_, _ = io.Copy(w, f) // the client may go away
	return nil
}
