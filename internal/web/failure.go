package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/store"
)

// errRequest: what the client asked makes no sense.
var errRequest = errors.New("bad request")

func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errRequest}, args...)...)
}

// absent is store.ErrNotFound in a sentence that says what is not there.
type absent string

func (a absent) Error() string   { return string(a) }
func (a absent) Is(e error) bool { return e == store.ErrNotFound }

func missing(format string, args ...any) error { return absent(fmt.Sprintf(format, args...)) }

// tell is what a client is told of its own mistake, without the words of the kind, which is in the code.
func tell(err error) string {
	return strings.TrimSuffix(strings.TrimPrefix(err.Error(), errRequest.Error()+": "), ": "+store.ErrNotFound.Error())
}

// failures maps kinds of errors to HTTP codes; what is not here is 500.
var failures = []struct {
	kind error
	code int
	word string
}{
	{errRequest, http.StatusBadRequest, "bad_request"},
	{store.ErrRefused, http.StatusBadRequest, "refused"},
	{auth.ErrNoToken, http.StatusUnauthorized, "token_required"},
	{auth.ErrBadToken, http.StatusUnauthorized, "invalid_token"},
	{auth.ErrForbidden, http.StatusForbidden, "forbidden"},
	{store.ErrNotFound, http.StatusNotFound, "not_found"},
	{history.ErrNotFound, http.StatusNotFound, "not_found"},
	{joblog.ErrNotFound, http.StatusNotFound, "not_found"},
	{store.ErrConflict, http.StatusConflict, "conflict"},
	{kv.ErrNoSpace, http.StatusInsufficientStorage, "full"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
	{context.Canceled, 499, "canceled"},
}

// fail answers with an error. What is no user's mistake is logged, and not told in full.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := api.Error{Code: http.StatusInternalServerError, Kind: "internal", Description: "something went wrong in the server; its log says more"}
	for _, f := range failures {
		if errors.Is(err, f.kind) {
			e = api.Error{Code: f.code, Kind: f.word, Description: tell(err)}
			break
		}
	}
	if e.Code >= 500 {
		s.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if e.Code == http.StatusUnauthorized {
		e.Realm = s.Auth.Realm()
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q error=%q error_description=%q", e.Realm, e.Kind, e.Description))
	}
	w.Header().Del("Cache-Control")
	writeJSON(w, e.Code, e)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}
