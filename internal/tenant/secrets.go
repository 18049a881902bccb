package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Opens tries to decrypt the data of a secret of a project; the error is why it cannot. It is asked once for each
// secret that could be opened, however many layouts have it.
type Opens func(ctx context.Context, owner change.Project, data map[string]any) error

// sealed tries the secrets of files and tells of those that cannot be opened.
func (s *Service) sealed(ctx context.Context, p change.Project, files []*config.File, into map[layout.SecretID]string) error {
	if s.opens == nil {
		return nil
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range files {
		for _, secret := range f.Secrets {
			g.Go(func() error {
				why := s.try(ctx, p, secret)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if why != nil {
					mu.Lock()
					defer mu.Unlock()
					into[layout.SecretID{Project: p.Canonical(), Secret: secret}] = why.Error()
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// mostOpened bounds how many secrets are remembered as good: anybody can propose ever new ones.
const mostOpened = 100_000

// try opens one secret, unless it was opened before. Those that cannot be are tried again each time: a key may have
// been imported.
func (s *Service) try(ctx context.Context, p change.Project, secret *config.Secret) error {
	text, err := json.Marshal(secret.Data)
	if err != nil {
		return err
	}
	key := sha256.Sum256([]byte(p.Canonical() + "\x00" + string(text)))
	s.mu.Lock()
	done := s.opened[key]
	s.mu.Unlock()
	if done {
		return nil
	}
	if err := s.opens(ctx, p, secret.Data); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.opened) >= mostOpened {
		clear(s.opened)
	}
	s.opened[key] = true
	return nil
}
