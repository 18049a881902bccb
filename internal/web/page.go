package web

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// page serves the built page. Files below assets/ carry a hash of their content in their name, so they
// may be kept for ever; every address that is no file is the page itself, which finds its way by the URL.
func (s *Server) page() http.Handler {
	files := http.FileServerFS(s.Assets)
	small := sync.OnceValue(func() map[string][]byte { return packed(s.Assets) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "the page can only be read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if info, err := fs.Stat(s.Assets, name); err == nil && !info.IsDir() && name != "index.html" {
			if strings.HasPrefix(name, "assets/") {
				h.Set("Cache-Control", "public, max-age=31536000, immutable")
				h.Set("Vary", "Accept-Encoding")
				if b := small()[name]; b != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
					h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
					h.Set("Content-Encoding", "gzip")
					h.Set("Content-Length", strconv.Itoa(len(b)))
					if r.Method == http.MethodGet {
						_, _ = w.Write(b) // a client that went away needs no answer
					}
					return
				}
			}
			files.ServeHTTP(w, r)
			return
		}
		if strings.HasPrefix(name, "assets/") { // a file of another build: never the page in its place
			http.NotFound(w, r)
			return
		}
		// The page shows names and logs that others wrote: nothing but its own code may run in it.
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'")
		h.Set("Cache-Control", "no-cache")
		b, err := fs.ReadFile(s.Assets, "index.html")
		if err != nil {
			http.Error(w, "the page was not built into this program", http.StatusNotFound)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b) // a client that went away needs no answer
	})
}

// packed are the files below assets/ that get smaller when they are compressed.
func packed(files fs.FS) map[string][]byte {
	out := map[string][]byte{}
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic("web: " + err.Error()) // the pattern is valid
	}
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			continue // it is served as any other file, with its error
		}
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, werr := z.Write(b)
		if cerr := z.Close(); werr == nil && cerr == nil && buf.Len() < len(b)*9/10 {
			out[name] = buf.Bytes()
		}
	}
	return out
}
