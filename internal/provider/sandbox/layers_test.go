package sandbox_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// What is installed on a node is there on that node alone, and again when a host comes back.
func TestPackagesAreANodesOwn(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil || os.Geteuid() != 0 {
		t.Skip("packages can be tried on Debian, as root")
	}
	signer, key := newKey(t)
	c := sandbox.Config{Folder: t.TempDir(), Labels: []sandbox.Label{{Name: "small"}}, Hosts: []sandbox.Host{{Name: "kept"}}}
	p := open(t, c)
	a, h := create(t, p, "a", "small", key), create(t, p, "h", "kept", key)
	onA, onH := dial(t, a.Access, "zuul", signer), dial(t, h.Access, "zuul", signer)
	if out, _, code := run(t, onH, "touch /usr/bin/probe 2>&1 && rm /usr/bin/probe", ""); code != 0 {
		t.Skipf("no layers upon this machine's folders: %s", out)
	}
	const build = `set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin
printf 'Package: gozer-greeting\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: greets\n' > /tmp/p/DEBIAN/control
printf '#!/bin/sh\nadduser --system --no-create-home --group greeting >/dev/null\n' > /tmp/p/DEBIAN/postinst
printf '#!/bin/sh\necho greetings\n' > /tmp/p/usr/bin/gozer-greeting
chmod 755 /tmp/p/DEBIAN/postinst /tmp/p/usr/bin/gozer-greeting
dpkg-deb --build --root-owner-group /tmp/p /tmp/p.deb >/dev/null
sudo -n dpkg -i /tmp/p.deb >/dev/null 2>&1
dpkg-query -W -f '${Status} ' gozer-greeting; gozer-greeting; id -u greeting >/dev/null`
	if got := mustRun(t, onH, build); got != "install ok installed greetings" {
		t.Errorf("on the host that has it: %q", got)
	}
	if got := mustRun(t, onA, "gozer-greeting 2>/dev/null; dpkg-query -W -f '${Status}' gozer-greeting 2>/dev/null; dpkg-query -W -f '${Status}' dpkg"); got != "install ok installed" {
		t.Errorf("on another node: %q", got)
	}
	if _, err := os.Stat("/usr/bin/gozer-greeting"); err == nil {
		t.Error("it is on this machine")
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), c.Folder) {
		t.Errorf("mounts of nodes are seen outside: %v\n%s", err, mounts)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = open(t, c)
	h = create(t, p, "h", "kept", key)
	if got := mustRun(t, dial(t, h.Access, "zuul", signer), "gozer-greeting"); got != "greetings" {
		t.Errorf("on the host that came back: %q", got)
	}
}
