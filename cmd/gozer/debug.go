package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
)

// debugSocket is where a process tells what it spends its time and memory on: whoever may enter its data folder may
// look.
func debugSocket(data string) string { return filepath.Join(data, "debug.sock") }

// serveDebug serves Go's profiles below /debug/pprof/ until ctx ends.
func (p *process) serveDebug(ctx context.Context) error {
	l, err := listenInside(debugSocket(p.set.Data))
	if err != nil {
		p.log.Warn("no profiles can be taken of this process", "error", err)
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return serveHTTP(ctx, l, mux, p.log)
}

// listenInside listens on a socket in a data folder, for its owner alone. (A path may be too long for one.)
func listenInside(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
