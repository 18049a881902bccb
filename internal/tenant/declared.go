package tenant

import (
	"context"
	"errors"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/store"
)

// declared is the text of the tenant file with which a tenant was loaded.
type declared struct{ sources, text string }

// Declared gives what the tenant file says of a tenant, and the file, as they were when the tenant was last loaded, by
// whichever process; of one that was not loaded yet, as this process read the file last. store.ErrNotFound where
// there is no such tenant.
func (s *Service) Declared(ctx context.Context, name string) (*config.Tenant, *config.TenantFile, error) {
	rec, err := s.Record(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		tf := s.File()
		if t := tf.Tenant(name); t != nil {
			return t, tf, nil
		}
		return nil, nil, err
	case err != nil:
		return nil, nil, err
	}
	s.mu.Lock()
	d := s.declared[name]
	s.mu.Unlock()
	if d.sources != rec.Sources {
		var src Sources
		if err := s.store.JSON(ctx, rec.Sources, &src); err != nil {
			return nil, nil, err
		}
		d = declared{rec.Sources, src.File}
		s.mu.Lock()
		s.declared[name] = d
		s.mu.Unlock()
	}
	return s.parse(d.text, name)
}

// File is the tenant file as this process read it last.
func (s *Service) File() *config.TenantFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}
