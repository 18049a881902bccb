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

// TestReadTellsAllProblems: keys, kinds of values and what does not fit together, in one go and at their lines.
func TestReadTellsAllProblems(t *testing.T) {
	path := write(t, "tennants: main.yaml\nlisten: nonsense\nhistory: {keep: forever}\nlogs: {max-size: big, colour: red}\nproviders: [{name: x, driver: sandbox, hosts: 3}]\ndata: [1]\n")
	_, err := settings.Read(path)
	if err == nil {
		t.Fatal("it was read")
	}
	for _, want := range []string{
		`:1: there is no key "tennants" here; did you mean tenants?`,
		`:3: "forever" is no length of time such as 30d or 12h`,
		`:4: "big" is no size such as 500MB or 20GB`,
		`:4: there is no key "colour" here; there are keep, max-size`,
		`:5: "3" is here, and a list is wanted`,
		`:6: a list is here, and text is wanted`,
		`: listen: "nonsense" is not host:port`,
	} {
		if !strings.Contains(err.Error(), path+want) {
			t.Errorf("it does not say %s%s:\n%v", path, want, err)
		}
	}
	if strings.Contains(err.Error(), "settings.") {
		t.Errorf("it speaks of Go types:\n%v", err)
	}
}
