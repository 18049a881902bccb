package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrSessionLost: the session can no longer be sure that it holds its lease.
var ErrSessionLost = errors.New("session lost its lease")

// SessionConfig says how a Session keeps its lease.
type SessionConfig struct {
	Store Store
	// TTL is how long after the process died its keys vanish; 10 s where it is zero.
	TTL time.Duration
	// Log gets a line for each keepalive that did not work; nil discards them.
	Log *slog.Logger
}

// Session is a lease kept alive for as long as Run runs. What is written under it is this
// process's presence and its claims.
//
// Done errs on the safe side: it closes when the time to live has passed since the last
// successful keepalive was sent, which is never later than the store can end the lease, give or
// take the drift of two clocks and the time in which this process was not scheduled. It is
// therefore a reason to stop working, not a guarantee to build upon: writes are guarded by
// comparing the create revision of a key under the lease.
type Session struct {
	store Store
	log   *slog.Logger
	ttl   time.Duration
	lease LeaseID
	done  chan struct{}

	mu    sync.Mutex
	until time.Time   // with a monotonic clock reading
	timer *time.Timer // closes done at until
	lost  bool
}

// NewSession takes a lease. The caller calls Run at once: the lease runs from here.
func NewSession(ctx context.Context, c SessionConfig) (*Session, error) {
	if c.TTL == 0 {
		c.TTL = 10 * time.Second
	}
	secs, err := Seconds(c.TTL)
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ttl := time.Duration(secs) * time.Second
	sent := time.Now()
	lease, err := c.Store.Grant(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("start session of %v: %w", ttl, err)
	}
	s := &Session{store: c.Store, log: c.Log, ttl: ttl, lease: lease, done: make(chan struct{}), until: sent.Add(ttl)}
	s.mu.Lock() // the timer may fire before it is assigned
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(time.Until(s.until), s.expire)
	return s, nil
}

// Lease is the lease to write keys under.
func (s *Session) Lease() LeaseID { return s.lease }

// Done is closed as soon as the session can no longer be sure that it holds the lease, and when
// Run returns.
func (s *Session) Done() <-chan struct{} { return s.done }

// Alive tells the same by the clock instead of a timer: also a process that was just woken up
// gets the right answer.
func (s *Session) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lost && time.Now().Before(s.until)
}

// Run keeps the lease alive. It returns ErrSessionLost once Done had to be closed, or the error
// of ctx after it ended; in this case the lease is revoked, so that nobody has to wait for it.
func (s *Session) Run(ctx context.Context) error {
	defer s.revoke(ctx)
	defer s.lose()
	pause := s.ttl / 3
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrSessionLost
		case <-time.After(pause):
		}
		err := s.keepAlive(ctx)
		switch {
		case err == nil:
			pause = s.ttl / 3
		case errors.Is(err, ErrLeaseNotFound):
			return fmt.Errorf("%w: %w", ErrSessionLost, err)
		case ctx.Err() == nil:
			s.log.WarnContext(ctx, "lease not kept alive", "lease", s.lease, "err", err)
			pause = s.ttl / 15
		}
	}
}

// keepAlive renews once. One attempt may not use up the time in which others could work.
func (s *Session) keepAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.ttl/3)
	defer cancel()
	sent := time.Now()
	left, err := s.store.KeepAlive(ctx, s.lease)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost {
		s.until = sent.Add(left)
		s.timer.Reset(time.Until(s.until))
	}
	return nil
}

// expire is the timer's: it closes done unless a keepalive moved the end while it fired.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.until) {
		s.close()
	}
}

// lose closes done whatever the time.
func (s *Session) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

func (s *Session) close() {
	if !s.lost {
		s.lost = true
		s.timer.Stop()
		close(s.done)
	}
}

// revoke ends the lease, if the store can be reached; otherwise it ends by itself.
func (s *Session) revoke(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.ttl, 2*time.Second))
	defer cancel()
	if err := s.store.Revoke(ctx, s.lease); err != nil && !errors.Is(err, ErrClosed) {
		s.log.WarnContext(ctx, "lease not revoked", "lease", s.lease, "err", err)
	}
}
