package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/settings"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "gozer.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadFillsDefaults(t *testing.T) {
	p := write(t, "data: d\ntenants: main.yaml\nconnections:\n- {name: local, driver: local}\n")
	s, err := settings.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(p)
	for _, c := range []struct{ name, got, want string }{
		{"data", s.Data, filepath.Join(dir, "d")},
		{"tenants", s.Tenants, filepath.Join(dir, "main.yaml")},
		{"root", s.Root, "http://127.0.0.1:8090/"},
		{"history", s.History.URL, "sqlite://" + filepath.Join(dir, "d/history.db")},
		{"host", s.Connections[0].Host, "local"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestReadNamesEveryProblem(t *testing.T) {
	_, err := settings.Read(write(t, "listen: nowhere\nconnections:\n- {name: 'a b', driver: cvs, max-dependencies: -1}\nproviders:\n- {name: p, driver: static, hosts: [{name: h}]}\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"data:", "tenants:", "listen:", "connections[0].name", "connections[0].driver", "connections[0].max-dependencies", "address", "host-keys"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s:\n%v", want, err)
		}
	}
}

func TestReadRefusesUnknownKeys(t *testing.T) {
	_, err := settings.Read(write(t, "data: d\ntenant: main.yaml\n"))
	if err == nil || !strings.Contains(err.Error(), "tenant") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want the unknown key and its line", err)
	}
}
