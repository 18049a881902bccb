package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// heartbeat keeps proxies from closing a quiet stream, and finds clients that went away.
const heartbeat = 15 * time.Second

// events is the live stream of a tenant.
func (s *Server) events(w http.ResponseWriter, r *request) error {
	f := s.feeds.of(r.tenant)
	if f == nil {
		f = s.feeds.empty(r.tenant)
	}
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	seen := r.Header.Get("Last-Event-ID")
	if seen == "" {
		seen = r.URL.Query().Get("last-event-id")
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	if _, err := fmt.Fprint(w, "retry: 1000\n\n"); err != nil {
		return nil
	}
	for {
		evs, more := f.after(seen, s.Now())
		for _, ev := range evs {
			body, err := json.Marshal(ev)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "id: %s\ndata: %s\n\n", ev.Version, body); err != nil {
				return nil // the client went away
			}
			seen = ev.Version
		}
		if err := rc.Flush(); err != nil {
			return nil
		}
		select {
		case <-more:
		case <-tick.C:
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		case <-s.stopping:
			return nil
		}
	}
}

// empty makes the feed of a tenant that has no pipeline yet, so that its stream goes on when it gets one.
func (f *feeds) empty(tenant string) *feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := f.feeds[tenant]
	if fd == nil {
		fd = newFeed(f.epoch)
		f.feeds[tenant] = fd
	}
	return fd
}
