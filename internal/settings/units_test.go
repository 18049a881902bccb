package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/settings"
)

const least = "data: d\ntenants: main.yaml\nconnections:\n- {name: local, driver: local}\n"

func TestUnits(t *testing.T) {
	s, err := settings.Read(write(t, least+"logs: {keep: 30d, max-size: 20GB}\n"))
	if err != nil || time.Duration(s.Logs.Keep) != 720*time.Hour || s.Logs.MaxSize != 20e9 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct{ text, want string }{
		{"logs: {keep: soon}\n", `"soon" is no length of time`}, {"logs: {max-size: much}\n", `"much" is no size`},
		{"executor: {listen: '0.0.0.0:7901'}\n", "executor.address"},
	} {
		if _, err := settings.Read(write(t, least+c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

func TestNodesOfAllKinds(t *testing.T) {
	_, err := settings.Read(write(t, least+`providers:
- {name: metal, driver: static, labels: [{name: x}], hosts: [{name: h, address: 10.0.0.1}]}
- {name: box, driver: sandbox, labels: [{name: a, max: 1, min-ready: 2, features: [turbo]}]}
launcher: {features: {odd: {apply: x}}}
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"providers[0].labels", "hosts[0].labels", "host-keys", "min-ready", `no feature "turbo"`, "features.odd.verify"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s:\n%v", want, err)
		}
	}
	s, err := settings.Read(write(t, least+`providers:
- {name: metal, driver: static, hosts: [{name: h, address: 10.0.0.1, labels: [metal], host-keys: [ssh-ed25519 AAAA], features: [fips]}]}
`))
	if err != nil || s.Providers[0].BootTimeout != 30*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
}
