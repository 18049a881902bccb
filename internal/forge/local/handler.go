package local

import (
	"compress/gzip"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	_ "embed"

	"github.com/gozer-ci/gozer/internal/forge"
)

//go:embed commit-msg
var commitMsg string

// Handler serves the forge: repositories over git's smart HTTP at /<project>.git (or without the ending), and
// at /a/<project>.git for those who want to be asked for their name (an administrator), the REST interface at
// /api/, the URLs of changes, which lead to where people look at them, the hook that writes Change-Ids at
// /tools/hooks/commit-msg. It expects paths without the prefix at which it is mounted. Pages of others, open in
// somebody's browser, can alter nothing here.
func (f *Forge) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tools/hooks/commit-msg", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x-shellscript")
		_, _ = io.WriteString(w, commitMsg)
	})
	mux.HandleFunc("GET /c/", func(w http.ResponseWriter, r *http.Request) {
		m := changePath.FindStringSubmatch(r.URL.Path)
		switch {
		case m == nil:
			http.NotFound(w, r)
		case f.PageURL != "":
			http.Redirect(w, r, f.PageURL+m[2], http.StatusFound)
		default:
			http.Redirect(w, r, f.BaseURL+"/api/changes/"+m[2], http.StatusFound)
		}
	})
	f.rest(mux)
	mux.HandleFunc("/", f.serveGit)
	return f.onlyOwnPages(mux)
}

// onlyOwnPages refuses what a browser sends on behalf of another site's page. Of a site whose name was made to lead
// here the browser thinks that it is ours; it calls us by that name.
func (f *Forge) onlyOwnPages(h http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	var own string
	if u, err := url.Parse(f.BaseURL); err == nil {
		own = u.Hostname()
		_ = guard.AddTrustedOrigin(u.Scheme + "://" + u.Host) // without a base URL there is none
	}
	h = guard.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		browser := r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != ""
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if browser && r.Method != http.MethodGet && r.Method != http.MethodHead && host != own && host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "this server is not called "+host, http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// errDenied: the name and the password do not belong together, or a name is needed.
var errDenied = errors.New("name and token do not belong together")

// who finds out who asks. Where the forge has no users everybody may, under any name but the
// administrator's, who always needs the token, and that of Gozer's own reports.
func (f *Forge) who(r *http.Request) (identity, error) {
	name, token, given := r.BasicAuth()
	same := func(a string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(token)) == 1 }
	switch {
	case given && name == adminName:
		if !same(f.AdminToken) {
			return identity{}, errDenied
		}
		return f.named(adminName), nil
	case given && name == f.User:
		return identity{}, errDenied
	case len(f.Users) == 0:
		if !given || name == "" {
			return identity{}, nil
		}
		return f.named(name), nil
	}
	for _, u := range f.Users {
		if given && u.Name == name && u.Token != "" && same(u.Token) {
			return f.named(name), nil
		}
	}
	return identity{}, errDenied
}

func deny(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="gozer"`)
	http.Error(w, errDenied.Error(), http.StatusUnauthorized)
}

// serveGit serves the repositories. Everybody may read. Below /a/ a push must say who it is of: git sends names
// and tokens only where it is asked for them.
func (f *Forge) serveGit(w http.ResponseWriter, r *http.Request) {
	path, named := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, "/"), "a/")
	var project, verb string
	for _, v := range []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"} {
		if p, ok := strings.CutSuffix(path, v); ok {
			project, verb = strings.TrimSuffix(p, ".git"), v[1:]
		}
	}
	if verb == "" {
		http.NotFound(w, r)
		return
	}
	repo, err := f.repo(project)
	if errors.Is(err, forge.ErrNotFound) {
		names, _ := f.Projects()
		http.Error(w, "there is no project "+project+"; there are: "+strings.Join(names, ", "), http.StatusNotFound)
		return
	}
	if err != nil {
		f.Log.Error("a repository cannot be opened", "project", project, "error", err)
		http.Error(w, "the repository cannot be opened", http.StatusInternalServerError)
		return
	}
	service := verb
	if verb == "info/refs" {
		service = r.URL.Query().Get("service")
	}
	var by identity
	if service == "git-receive-pack" {
		by, err = f.who(r)
		if _, _, given := r.BasicAuth(); err != nil || named && !given {
			deny(w)
			return
		}
	}
	w.Header().Set("Cache-Control", "no-cache")
	if verb != "info/refs" {
		if r.Method != http.MethodPost {
			http.Error(w, "POST is needed", http.StatusMethodNotAllowed)
			return
		}
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, "the body is not what its encoding says", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(z)
		}
	}
	switch {
	case verb == "info/refs" && service == "git-receive-pack":
		w.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
		err = f.advertise(r.Context(), repo, w)
	case verb == "info/refs" && service == "git-upload-pack":
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		protocol := r.Header.Get("Git-Protocol")
		if !strings.Contains(protocol, "version=2") {
			l := &lines{w: w}
			l.line("# service=git-upload-pack\n")
			l.flush()
		}
		err = repo.UploadPack(r.Context(), protocol, true, nil, w)
	case verb == "git-upload-pack":
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		err = repo.UploadPack(r.Context(), r.Header.Get("Git-Protocol"), false, r.Body, w)
	case verb == "git-receive-pack":
		f.receive(w, r, project, repo, by)
	default:
		http.Error(w, "this needs a git that speaks the smart protocol", http.StatusForbidden)
	}
	if err != nil && r.Context().Err() == nil {
		f.Log.Warn("git over HTTP", "project", project, "service", service, "error", err)
	}
}
