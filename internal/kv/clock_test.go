package kv

import (
	"context"
	"strings"
	"testing"
	"time"
)

// leases grants and renews, and does nothing else.
type leases struct{ Store }

func (leases) Grant(context.Context, time.Duration) (LeaseID, error) { return 1, nil }
func (leases) KeepAlive(context.Context, LeaseID) (time.Duration, error) {
	return time.Minute, nil
}

// The end of a session is a moment on the clock that counts how much time passes, which nobody can set: whatever
// becomes of the clock on the wall, the session lasts as long as its lease.
func TestTheEndOfASessionIsNotOnTheWall(t *testing.T) {
	s, err := NewSession(t.Context(), SessionConfig{Store: leases{}, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.lose()
	for _, when := range []string{"made", "kept alive"} {
		if !strings.Contains(s.until.String(), " m=+") {
			t.Errorf("the end of a session that was %s is %v, without a monotonic reading", when, s.until)
		}
		if err := s.keepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
