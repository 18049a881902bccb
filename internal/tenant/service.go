// Package tenant loads the configuration of tenants and keeps their layouts: it asks forges for branches
// and mergers for files, has config and layout make of them what runs, and makes the layouts that proposed
// changes would have. A layout is identified by what it was made from, and how to make it again is
// recorded, so any process has the same layout for the same identity.
package tenant

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Config is what a Service needs.
type Config struct {
	Store  *store.Store
	Forges *forge.Set
	// File is the path of the tenant file.
	File string
	// Drivers are the connections that are no forges (mail...), by name.
	Drivers map[string]string
	// WebRoot is the address of the pages; links in reports lead to those of the tenant below it, or to the
	// tenant's own web-root.
	WebRoot string
	// Opens tries each secret when a layout is made; what it cannot open is a problem of the jobs that use it.
	// Nil: secrets are not tried.
	Opens Opens
	Log   *slog.Logger
}

// Service is safe for use by many goroutines.
type Service struct {
	store   *store.Store
	forges  *forge.Set
	path    string
	webRoot string
	opts    config.Options
	opens   Opens
	log     *slog.Logger

	mu    sync.Mutex
	file  *config.TenantFile            // as it was last read
	texts map[string]*config.TenantFile // by content
	// parsed files by content and connections; when their texts are too many those that were not asked for since the
	// last time go.
	parsed, unasked map[string]*config.Content
	parsedBytes     int
	// parts are those of branches in the present layouts, by tenant.
	parts   map[string]map[branchKey]layout.BranchInput
	layouts map[string]*layout.Layout // by identity
	recent  []string
	opened  map[[sha256.Size]byte]bool // secrets that could be opened, by owner and cipher text
	// declared are the texts that count for tenants whose declaration was asked for.
	declared map[string]declared
}

// New reads the tenant file once, to know which tenants there are; what is wrong with it is an error, all
// of it.
func New(c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{store: c.Store, forges: c.Forges, path: c.File, webRoot: c.WebRoot, opens: c.Opens, log: c.Log, opened: map[[sha256.Size]byte]bool{}, declared: map[string]declared{},
		texts: map[string]*config.TenantFile{}, parsed: map[string]*config.Content{}, parts: map[string]map[branchKey]layout.BranchInput{}, layouts: map[string]*layout.Layout{}}
	s.opts.Connections = map[string]string{}
	for _, f := range c.Forges.All() {
		s.opts.Connections[f.Name()] = f.Driver()
	}
	for name, driver := range c.Drivers {
		s.opts.Connections[name] = driver
	}
	if _, err := s.readFile(); err != nil {
		return s, err
	}
	if len(s.file.Tenants) == 0 {
		return s, fmt.Errorf("%w: %s has no tenant", ErrFile, s.path)
	}
	return s, nil
}

// ErrFile: the tenant file is not usable as it is.
var ErrFile = errors.New("the tenant file cannot be used")

// readFile gives the text of the tenant file. One with mistakes is an error, which lists all of them: a
// tenant that cannot be read must not be taken for one that is not there.
func (s *Service) readFile() (string, error) {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFile, err)
	}
	tf := s.tenants(string(text))
	var errs []error
	for _, p := range tf.Problems {
		if p.Severity == config.Error {
			text := fmt.Sprintf("%s:%d: %s", s.path, p.Line, p.Short)
			if p.Hint != "" {
				text += "; " + p.Hint
			}
			errs = append(errs, errors.New(text))
		}
	}
	if len(errs) > 0 {
		return "", fmt.Errorf("%w: %w", ErrFile, errors.Join(errs...))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = tf
	return string(text), nil
}

// Refresh reads the tenant file again, so that Names and Interested tell of the tenants that it has now. Those
// that are loaded stay as they are until they are reconfigured.
func (s *Service) Refresh() error {
	_, err := s.readFile()
	return err
}

// keepTexts bounds how many texts of the tenant file are kept parsed: tenants may be at different ones.
const keepTexts = 8

// tenants parses a text of the tenant file, once.
func (s *Service) tenants(text string) *config.TenantFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	tf := s.texts[text]
	if tf == nil {
		tf = config.ParseTenants(s.path, []byte(text), s.opts)
		if len(s.texts) >= keepTexts {
			clear(s.texts)
		}
		s.texts[text] = tf
	}
	return tf
}

func (s *Service) parse(text, name string) (*config.Tenant, *config.TenantFile, error) {
	tf := s.tenants(text)
	t := tf.Tenant(name)
	if t == nil {
		return nil, nil, fmt.Errorf("%s, tenant %q: %w", s.path, name, ErrGone)
	}
	return t, tf, nil
}

// Names lists the tenants of the tenant file as it was last read.
func (s *Service) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, len(s.file.Tenants))
	for i, t := range s.file.Tenants {
		out[i] = t.Name
	}
	return out
}

// Interested lists the tenants that have a project, for whoever takes events in.
func (s *Service) Interested(p change.Project) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, t := range s.file.Tenants {
		if slices.ContainsFunc(t.Projects, func(x *config.TenantProject) bool { return s.is(x, p) }) {
			out = append(out, t.Name)
		}
	}
	return out
}

func (s *Service) is(x *config.TenantProject, p change.Project) bool {
	return x.Connection == p.Connection && x.Name == p.Name
}

// project makes a tenant's project whole.
func (s *Service) project(x *config.TenantProject) (change.Project, error) {
	p, ok := s.forges.Project(x.Connection, x.Name)
	if !ok {
		return p, fmt.Errorf("project %s: there is no connection %q that has projects", x.Name, x.Connection)
	}
	return p, nil
}

// Stored reads a tenant's record and its revision; the zero record where there is none yet.
func (s *Service) Stored(ctx context.Context, name string) (Record, int64, error) {
	r, err := store.Records[Record](s.store, RecordPrefix).Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return Record{}, 0, nil
	}
	return r.Value, r.Mod, err
}

// Record reads a tenant's record. store.ErrNotFound where there is none.
func (s *Service) Record(ctx context.Context, name string) (Record, error) {
	r, err := store.Records[Record](s.store, RecordPrefix).Get(ctx, name)
	return r.Value, err
}

// View is what the core must know of a layout for one pipeline.
func (s *Service) View(l *layout.Layout, pipe string) pipeline.Tenant {
	v := l.Tenant(pipe)
	if v.WebRoot == "" && s.webRoot != "" {
		v.WebRoot = strings.TrimSuffix(s.webRoot, "/") + "/t/" + url.PathEscape(l.Name) + "/"
	}
	return v
}

// Current is a tenant's present layout.
func (s *Service) Current(ctx context.Context, name string) (*layout.Layout, error) {
	rec, err := s.Record(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.Layout(ctx, name, rec.Layout)
}

// keepLayouts bounds how many layouts are kept in memory.
const keepLayouts = 64

func (s *Service) keep(l *layout.Layout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.layouts[l.ID] == nil {
		s.recent = append(s.recent, l.ID)
	}
	s.layouts[l.ID] = l
	for len(s.recent) > keepLayouts {
		delete(s.layouts, s.recent[0])
		s.recent = s.recent[1:]
	}
}

func (s *Service) kept(id string) *layout.Layout {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layouts[id]
}

func layoutKey(tenant, id string) string {
	return store.LayoutPrefix + strings.ReplaceAll(tenant, "/", "%2F") + "/" + id
}

func (s *Service) recordLayout(ctx context.Context, tenant, id string, r LayoutRecord) error {
	// The same identity always has the same record: writing it again changes nothing.
	_, err := s.store.Write(ctx, store.Fence{}, kv.Put(layoutKey(tenant, id), store.Encode(r)))
	return err
}

// keepText bounds the bytes of text of which parsed files are kept for as long as nobody asks for them.
const keepText = 32 << 20

// content parses a text once, whatever branch or project it is in.
func (s *Service) content(text string) *config.Content {
	key := config.Key([]byte(text), s.opts)
	s.mu.Lock()
	c := s.parsed[key]
	if c == nil && s.unasked[key] != nil {
		c = s.unasked[key]
		s.remember(key, c, len(text))
	}
	s.mu.Unlock()
	if c != nil {
		return c
	}
	c = config.ParseContent([]byte(text), s.opts)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.parsed[key]; other != nil {
		return other // somebody was faster
	}
	s.remember(key, c, len(text))
	return c
}

// remember keeps a parsed file; the caller holds the lock.
func (s *Service) remember(key string, c *config.Content, size int) {
	s.parsed[key] = c
	if s.parsedBytes += size; s.parsedBytes > keepText {
		s.unasked, s.parsed, s.parsedBytes = s.parsed, map[string]*config.Content{}, 0
	}
}
