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
)

// keyPrefix is where the keys of projects are.
const keyPrefix = "/key/project/"

// keyring is the keys of projects, made when they are first asked for and kept in the store.
type keyring struct{ store *store.Store }

func (k *keyring) key(ctx context.Context, p change.Project, kind secret.Kind) (*rsa.PrivateKey, error) {
	keys := store.Records[secret.Stored](k.store, keyPrefix)
	name := string(kind) + "/" + url.PathEscape(p.Connection) + "/" + url.PathEscape(p.Name)
	r, err := keys.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		made, gerr := secret.Generate(kind, 0)
		if gerr != nil {
			return nil, gerr
		}
		s, gerr := secret.NewStored(p, kind, made, "", time.Now())
		if gerr != nil {
			return nil, gerr
		}
		if _, perr := keys.Put(ctx, name, s, 0); perr != nil && !errors.Is(perr, store.ErrConflict) {
			return nil, perr
		}
		r, err = keys.Get(ctx, name) // whoever was first
	}
	if err != nil {
		return nil, fmt.Errorf("the %s key of %s: %w", kind, p, err)
	}
	return r.Value.Open("")
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
