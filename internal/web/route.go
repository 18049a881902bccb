package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
)

// route is one endpoint: what serves it, and what the OpenAPI document says of it.
type route struct {
	method, path, about string
	// query names the parameters; answer and body are values of the types that go over the wire.
	query        []string
	answer, body any
	// admin: only an admin of the tenant may. open: everybody may, whatever the rules for readers say.
	admin, open bool
	// maxAge lets others keep the answer that long; 0 is a second, negative is never.
	maxAge time.Duration
	// get answers with JSON, raw by itself; one of them is set.
	get func(*request) (any, error)
	raw func(http.ResponseWriter, *request) error

	pattern *regexp.Regexp
	names   []string
}

// request is a request with its path taken apart.
type request struct {
	*http.Request
	tenant string
	vars   map[string]string
	who    string
	// private: not everybody may read the answer.
	private bool
	// audit is the record of what an operator does with this request; nil where it is not written.
	audit     *api.Audit
	auditName string
	auditMod  int64
}

var wildcard = regexp.MustCompile(`\{([a-z]+)(\.\.\.)?\}`)

// compile makes the pattern: {name} is one segment, {name...} any number of them, because the names of
// projects have slashes that clients may or may not escape.
func (rt *route) compile() *route {
	var b strings.Builder
	b.WriteByte('^')
	at := 0
	for _, m := range wildcard.FindAllStringSubmatchIndex(rt.path, -1) {
		b.WriteString(regexp.QuoteMeta(rt.path[at:m[0]]))
		rt.names = append(rt.names, rt.path[m[2]:m[3]])
		if m[4] >= 0 {
			b.WriteString("(.+)")
		} else {
			b.WriteString("([^/]+)")
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(rt.path[at:]) + "$")
	rt.pattern = regexp.MustCompile(b.String())
	return rt
}

// match takes the path apart; nil where it is another one's.
func (rt *route) match(path string) map[string]string {
	m := rt.pattern.FindStringSubmatch(path)
	if m == nil {
		return nil
	}
	vars := map[string]string{}
	for i, n := range rt.names {
		v, err := url.PathUnescape(m[i+1])
		if err != nil {
			return nil
		}
		vars[n] = v
	}
	return vars
}

// dispatch finds the endpoint and serves it.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("X-Content-Type-Options", "nosniff") // much of it is what others wrote
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	for _, rt := range s.table {
		if rt.method != r.Method && (rt.method != http.MethodGet || r.Method != http.MethodHead) {
			continue
		}
		if vars := rt.match(path); vars != nil {
			s.serve(w, &request{Request: r, vars: vars, tenant: vars["tenant"]}, rt)
			return
		}
	}
	s.fail(w, r, missing("there is no %s %s; /api lists what there is", r.Method, r.URL.Path))
}

func (s *Server) serve(w http.ResponseWriter, r *request, rt *route) {
	if err := s.permit(r, rt); err != nil {
		s.fail(w, r.Request, err)
		return
	}
	switch {
	case rt.maxAge < 0 || rt.method != http.MethodGet:
		w.Header().Set("Cache-Control", "no-cache")
	case r.private:
		w.Header().Set("Cache-Control", "private, no-cache")
	default:
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(max(rt.maxAge, time.Second).Seconds())))
	}
	if rt.raw != nil {
		err := rt.raw(w, r)
		s.concluded(r, err)
		if err != nil {
			s.fail(w, r.Request, err)
		}
		return
	}
	v, err := rt.get(r)
	if err != nil {
		s.fail(w, r.Request, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// decode reads the JSON body; a field that the endpoint does not know is refused.
func (r *request) decode(w http.ResponseWriter, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("the body is not what this endpoint takes: %v", err)
	}
	return nil
}
