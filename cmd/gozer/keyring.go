package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/secret"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// keyPrefix is where the keys of projects are.
const keyPrefix = "/key/project/"

// keyring is the keys of projects, made when they are first asked for and kept in the store, encrypted with the
// password where there is one.
type keyring struct {
	store    *store.Store
	password string
}

func keyName(p change.Project, kind secret.Kind) string {
	return string(kind) + "/" + url.PathEscape(p.Connection) + "/" + url.PathEscape(p.Name)
}

func (k *keyring) records() *store.Collection[secret.Stored] {
	return store.Records[secret.Stored](k.store, keyPrefix)
}

// key is a project's key, made where there is none.
func (k *keyring) key(ctx context.Context, p change.Project, kind secret.Kind) (*rsa.PrivateKey, error) {
	key, err := k.find(ctx, p, kind)
	if !errors.Is(err, store.ErrNotFound) {
		return key, err
	}
	made, err := secret.Generate(kind, 0)
	if err != nil {
		return nil, err
	}
	s, err := secret.NewStored(p, kind, made, k.password, time.Now())
	if err != nil {
		return nil, err
	}
	if _, err := k.records().Put(ctx, keyName(p, kind), s, 0); err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, err
	}
	return k.find(ctx, p, kind) // whoever was first
}

// find is a project's key; store.ErrNotFound where there is none.
func (k *keyring) find(ctx context.Context, p change.Project, kind secret.Kind) (*rsa.PrivateKey, error) {
	r, err := k.records().Get(ctx, keyName(p, kind))
	if err != nil {
		return nil, fmt.Errorf("the %s key of %s: %w", kind, p, err)
	}
	key, err := r.Value.Open(k.password)
	if errors.Is(err, secret.ErrPassword) {
		return nil, fmt.Errorf("%w; it was kept under another one than keys.password of the configuration", err)
	}
	if err != nil {
		return nil, err
	}
	if k.password != "" && !r.Value.Locked() {
		// It was made while there was no password.
		locked, err := r.Value.Lock(k.password)
		if err != nil {
			return nil, err
		}
		if _, err := k.records().Put(ctx, r.Name, locked, r.Mod); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
	return key, nil
}

// opens tries a secret, without making a key for a project that has none.
func (k *keyring) opens(ctx context.Context, owner change.Project, data map[string]any) error {
	if !secret.Has(data) {
		return nil
	}
	key, err := k.find(ctx, owner, secret.Secrets)
	if errors.Is(err, store.ErrNotFound) {
		return errors.New("the project has no key here")
	}
	if err != nil {
		return err
	}
	_, err = secret.OpenData(key, data)
	return err
}

// list gives all keys that there are, by project.
func (k *keyring) list(ctx context.Context) ([]secret.Stored, error) {
	list, err := k.records().List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]secret.Stored, len(list))
	for i, r := range list {
		out[i] = r.Value
	}
	return out, nil
}

// imported is what became of an imported key.
type imported int

const (
	added imported = iota
	same
	replaced
	refused // another one is there
)

// add keeps a key that was exported elsewhere. It must open with the password. Another key of the project is only
// replaced by force.
func (k *keyring) add(ctx context.Context, s secret.Stored, password string, force bool) (imported, error) {
	key, err := s.Open(password)
	if err != nil {
		return refused, err
	}
	if password != k.password {
		if s, err = secret.NewStored(s.Project, s.Kind, key, k.password, time.Unix(s.Keys[0].Created, 0)); err != nil {
			return refused, err
		}
	}
	name := keyName(s.Project, s.Kind)
	r, err := k.records().Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		_, err = k.records().Put(ctx, name, s, 0)
		return added, err
	}
	if err != nil {
		return refused, err
	}
	if old, err := r.Value.Open(k.password); err == nil && old.Equal(key) {
		return same, nil
	}
	if !force {
		return refused, nil
	}
	_, err = k.records().Put(ctx, name, s, r.Mod)
	return replaced, err
}

// SecretsKey is the key that a project's secrets are encrypted to.
func (k *keyring) SecretsKey(ctx context.Context, p change.Project) (*rsa.PrivateKey, error) {
	return k.key(ctx, p, secret.Secrets)
}

func (k *keyring) Open(ctx context.Context, s job.Secret) (any, error) {
	return secret.Open(ctx, k, s)
}

func (k *keyring) SSHKey(ctx context.Context, p change.Project) ([]byte, error) {
	key, err := k.key(ctx, p, secret.SSH)
	if err != nil {
		return nil, err
	}
	return secret.PrivatePEM(key, "")
}

// Public is what the API shows of a project's keys.
func (k *keyring) Public(ctx context.Context, p change.Project) (pem, ssh string, err error) {
	key, err := k.key(ctx, p, secret.Secrets)
	if err != nil {
		return "", "", err
	}
	b, err := secret.PublicPEM(&key.PublicKey)
	if err != nil {
		return "", "", err
	}
	sk, err := k.key(ctx, p, secret.SSH)
	if err != nil {
		return "", "", err
	}
	ssh, err = secret.AuthorizedKey(&sk.PublicKey, p.Name)
	return string(b), ssh, err
}

// sealed is where returned secret data is kept: in the store alone, never as a blob that the API could show.
const sealed = "/sealed/"

// Seal keeps secret data that a job returned for those that depend on it.
func (k *keyring) Seal(ctx context.Context, tenant string, data map[string]any) (string, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	name := url.PathEscape(tenant) + "/" + store.NewID()
	_, err = k.store.Write(ctx, store.Fence{}, kv.Put(sealed+name, b))
	return name, err
}

// Unseal reads it again.
func (k *keyring) Unseal(ctx context.Context, _, name string) (map[string]any, error) {
	r, err := store.Records[map[string]any](k.store, sealed).Get(ctx, name)
	return r.Value, err
}

// publicKeys gives the API the public keys of projects that are in a tenant.
type publicKeys struct {
	tenants *tenant.Service
	keys    *keyring
}

func (k publicKeys) Public(ctx context.Context, name, project string) (pem, ssh string, err error) {
	l, err := k.tenants.Current(ctx, name)
	if err != nil {
		return "", "", err
	}
	p, ok := l.Project(project)
	if !ok {
		return "", "", fmt.Errorf("there is no project %q in tenant %s: %w", project, name, store.ErrNotFound)
	}
	return k.keys.Public(ctx, p)
}
