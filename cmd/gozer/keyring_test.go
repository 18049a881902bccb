package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/secret"
	"github.com/gozer-ci/gozer/internal/store"
)

var orgWeb = change.Project{Connection: "local", Host: "local", Name: "org/web"}

func openKeys(t *testing.T, password string) *keyring {
	t.Helper()
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	st, err := store.Open(t.Context(), store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	return &keyring{store: st, password: password}
}

// keep puts a small key where a project's key is looked for: making a real one takes seconds.
func keep(t *testing.T, k *keyring, password string) {
	t.Helper()
	key, err := secret.Generate(secret.Secrets, 1024)
	if err != nil {
		t.Fatal(err)
	}
	s, err := secret.NewStored(orgWeb, secret.Secrets, key, password, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.records().Put(t.Context(), keyName(orgWeb, secret.Secrets), s, 0); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAreLockedOnceThereIsAPassword(t *testing.T) {
	k := openKeys(t, "")
	keep(t, k, "")
	before, err := k.SecretsKey(t.Context(), orgWeb)
	if err != nil {
		t.Fatal(err)
	}
	k.password = "hush"
	after, err := k.SecretsKey(t.Context(), orgWeb)
	if err != nil || !after.Equal(before) {
		t.Fatalf("with a password: %v", err)
	}
	list, err := k.list(t.Context())
	if err != nil || len(list) != 1 || !list[0].Locked() {
		t.Fatalf("the key is not encrypted: %v", err)
	}
	k.password = "other"
	if _, err := k.SecretsKey(t.Context(), orgWeb); !errors.Is(err, secret.ErrPassword) || !strings.Contains(err.Error(), "keys.password") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestTryingASecretMakesNoKey(t *testing.T) {
	k := openKeys(t, "hush")
	data := map[string]any{"a": map[string]any{"!encrypted/pkcs1-oaep": []any{"aGVsbG8="}}}
	if err := k.opens(t.Context(), orgWeb, map[string]any{"plain": "x"}); err != nil {
		t.Errorf("a secret without encrypted fields: %v", err)
	}
	if err := k.opens(t.Context(), orgWeb, data); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("without a key: %v", err)
	}
	if list, err := k.list(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("a key was made: %v %v", list, err)
	}
	keep(t, k, "hush")
	if err := k.opens(t.Context(), orgWeb, data); !errors.Is(err, secret.ErrNotEncrypted) {
		t.Errorf("what is no cipher text: %v", err)
	}
}

// What is encrypted with the key that a server shows can be opened with the key that it keeps.
func TestEncryptToTheKeyOfAServer(t *testing.T) {
	k := openKeys(t, "")
	keep(t, k, "")
	key, err := k.SecretsKey(t.Context(), orgWeb)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := secret.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/tenants":
			_, _ = io.WriteString(w, `[{"name":"one"}]`)
		case "/api/tenant/one/key/org/web.pub":
			_, _ = w.Write(pem)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	value := strings.Repeat("a long value, ", 40)
	in := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(in, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--server", srv.URL, "--project", "org/web"},
		{"--public-key", srv.URL + "/api/tenant/one/key/org/web.pub"},
	} {
		var out bytes.Buffer
		cmd := root()
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"secret", "encrypt", "--name", "s", "--field", "f", "--in", in, "--no-strip"}, args...))
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		f := config.Parse(config.Source{Path: "zuul.yaml"}, out.Bytes(), config.Options{})
		if p := f.Problems(); len(p) > 0 || len(f.Secrets) != 1 {
			t.Fatalf("%v\n%s", p, out.String())
		}
		plain, err := secret.OpenData(key, f.Secrets[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		if got := plain.(map[string]any)["f"]; got != value+"\n" {
			t.Errorf("%q", got)
		}
	}
}
