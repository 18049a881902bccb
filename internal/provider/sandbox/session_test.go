package sandbox_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/provider/knock"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

func TestSessions(t *testing.T) {
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	for _, c := range []struct {
		name, command, stdin string
		wantOut, wantErr     string
		wantCode             int
	}{
		{name: "output and errors apart", command: "echo out; echo err >&2", wantOut: "out\n", wantErr: "err\n"},
		{name: "exit status", command: "exit 7", wantCode: 7},
		{name: "death by signal", command: "kill -9 $$", wantCode: 137},
		{name: "standard input", command: "cat", stdin: "hello", wantOut: "hello"},
		{name: "no such command", command: "no-such-command 2>/dev/null", wantCode: 127},
		{name: "account", command: "echo $USER $HOME; pwd; id -u; hostname", wantOut: "zuul /home/zuul\n/home/zuul\n0\none\n"},
		{name: "only its own processes", command: "ls -d /proc/[0-9]* | wc -l | grep -q '^[0-9]$'"},
		{name: "the host's files are not there", command: "ls /home /work 2>/dev/null", wantOut: "/home:\nzuul\n", wantCode: 2},
		{name: "/usr/local is its own", command: "echo echo mine > /usr/local/bin/x; chmod +x /usr/local/bin/x; x", wantOut: "mine\n"},
		{name: "kernel settings are not writable", command: "v=$(cat /proc/sys/vm/swappiness); (echo $v > /proc/sys/vm/swappiness) 2>/dev/null", wantCode: 1},
		{name: "nothing inherited but the three", command: "ls /proc/self/fd | wc -w", wantOut: "4\n"}, // and the listing itself
		{name: "a daemon that keeps the output open", command: "sleep 3600 & echo done", wantOut: "done\n"},
		{name: "certificates", command: "test -s /etc/ssl/certs/ca-certificates.crt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := run(t, ssh, c.command, c.stdin)
			if out != c.wantOut || errs != c.wantErr || code != c.wantCode {
				t.Errorf("%s:\n got %q, %q, exit status %d\nwant %q, %q, exit status %d", c.command, out, errs, code, c.wantOut, c.wantErr, c.wantCode)
			}
		})
	}
}

func TestManySessionsAtOnce(t *testing.T) {
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			if got := mustRun(t, ssh, fmt.Sprintf("head -c 100000 /dev/zero | wc -c; echo %d", n)); got != fmt.Sprintf("100000\n%d", n) {
				t.Errorf("session %d says %q", n, got)
			}
		})
	}
	all.Wait()
	s, err := ssh.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var count countingWriter
	s.Stdout = &count
	if err := s.Run("head -c 50000000 /dev/zero"); err != nil || count != 50000000 {
		t.Errorf("of 50000000 bytes %d came: %v", count, err)
	}
}

type countingWriter int

func (w *countingWriter) Write(b []byte) (int, error) {
	*w += countingWriter(len(b))
	return len(b), nil
}

func TestSessionsPerConnectionAreBounded(t *testing.T) {
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	var open []*gossh.Session
	defer func() {
		for _, s := range open {
			_ = s.Close()
		}
	}()
	for n := range 64 {
		s, err := ssh.NewSession()
		if err != nil {
			t.Fatalf("session %d: %v", n, err)
		}
		open = append(open, s)
	}
	if _, err := ssh.NewSession(); err == nil || !strings.Contains(err.Error(), "more than 64 sessions") {
		t.Errorf("one more: %v", err)
	}
	_ = open[0].Close()
	for range 6000 { // the server hears of it a moment later
		if s, err := ssh.NewSession(); err == nil {
			open[0] = s
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no session after one was closed")
}

func TestTerminal(t *testing.T) {
	i, signer := one(t)
	s, err := dial(t, i.Access, "zuul", signer).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("vt100", 30, 100, gossh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(40, 120); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "tty; echo term=$TERM; for i in $(seq 2400); do [ \"$(stty size)\" = '40 120' ] && echo resized && break; sleep 0.05; done; exit 3\n")
	err = s.Wait()
	if code, ok := err.(*gossh.ExitError); !ok || code.ExitStatus() != 3 {
		t.Errorf("the shell ended with %v", err)
	}
	for _, want := range []string{"/dev/pts/0\r\n", "\r\nterm=vt100\r\n", "\r\nresized\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the terminal does not show %q:\n%q", want, out.String())
		}
	}
}

func TestSignals(t *testing.T) {
	i, signer := one(t)
	s, err := dial(t, i.Access, "zuul", signer).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'echo got it; exit 4' USR1; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(gossh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	if code, ok := s.Wait().(*gossh.ExitError); !ok || code.ExitStatus() != 4 || string(rest) != "got it\n" {
		t.Errorf("after the signal: %v, %q", code, rest)
	}
}

// What a session runs ends with the connection, and with the session of a connection that stays; what
// went into the background on purpose goes on.
func TestHangUp(t *testing.T) {
	i, signer := one(t)
	watch := dial(t, i.Access, "zuul", signer)
	for _, how := range []string{"connection", "session"} {
		t.Run(how, func(t *testing.T) {
			c := dial(t, i.Access, "zuul", signer)
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			err = s.Start(`setsid sleep 1001 >/dev/null 2>&1 </dev/null & nohup sleep 1002 >/dev/null 2>&1 </dev/null & sleep 1003 &
				for i in $(seq 2400); do [ $(pgrep -c -f -x 'sleep 100[123]') = 3 ] && break; sleep 0.05; done
				echo ready; sleep 1004`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
				t.Fatal(err)
			}
			if how == "connection" {
				_ = c.Close()
			} else {
				_ = s.Close()
			}
			got := mustRun(t, watch, `for i in $(seq 2400); do pgrep -f 'sleep 100[34]' >/dev/null || break; sleep 0.05; done
				pgrep -x -a sleep | sort -k3 | while read pid name arg; do echo $arg; done; pkill -x sleep`)
			if got != "1001\n1002" {
				t.Errorf("after the end of the %s these go on: %q", how, got)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	files, err := sftp.NewClient(ssh)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	f, err := files.Create("upload")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte("0123456789"), 100000)); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := files.Chmod("upload", 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustRun(t, ssh, "stat -c '%a %s' /home/zuul/upload"); got != "600 1000000" {
		t.Errorf("the file on the node is %s", got)
	}
}

func TestWhoGetsIn(t *testing.T) {
	i, signer := one(t)
	other, otherKey := newKey(t)
	ctx := t.Context()
	if err := knock.SSH(ctx, i.Access, signer); err != nil {
		t.Fatal(err)
	}
	if err := knock.SSH(ctx, i.Access, other); err == nil {
		t.Error("a key that nobody let in got in")
	}
	wrong := i.Access
	wrong.HostKeys = []string{otherKey}
	if err := knock.SSH(ctx, wrong, signer); err == nil {
		t.Error("a host key that is another was taken")
	}
	// What playbooks do to authorized_keys counts, as it does with any sshd.
	mustRun(t, dial(t, i.Access, "zuul", signer), "echo '"+strings.TrimSpace(otherKey)+"' >> ~/.ssh/authorized_keys")
	for _, user := range []string{"zuul", "root"} {
		a := i.Access
		a.User = user
		if err := knock.SSH(ctx, a, other); err != nil {
			t.Errorf("%s, whom the node let in since: %v", user, err)
		}
	}
	nobody := i.Access
	nobody.User = "nobody"
	if err := knock.SSH(ctx, nobody, signer); err == nil {
		t.Error("nobody got in")
	}
	// No forwarding.
	if c, err := dial(t, i.Access, "zuul", signer).Dial("tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "unknown channel type") {
		t.Errorf("a forwarded connection: %v, %v", c, err)
	}
}

func TestSudo(t *testing.T) {
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	many := mustRun(t, ssh, "grep -c . /proc/self/uid_map") != "1"
	mustRun(t, ssh, "useradd -m -s /bin/sh gitea")
	who := "0"
	if many {
		who = mustRun(t, ssh, "id -u gitea")
	}
	for command, want := range map[string]string{
		// As Ansible calls it.
		`sudo -H -S -n  -u root /bin/sh -c 'echo BECOME-SUCCESS ; id -u; echo $HOME'`: "BECOME-SUCCESS\n0\n/root",
		`sudo -H -S -n  -u gitea /bin/sh -c 'id -u; echo $HOME $USER'`:                who + "\n/home/gitea gitea",
		`sudo -nu gitea printenv HOME`:                                                "/home/gitea",
		`sudo A=b printenv A`:                                                         "b",
		`sudo -i pwd`:                                                                 "/root",
		`sudo -s 'echo $0 $SUDO_USER'`:                                                "/bin/bash zuul",
		`sudo -n true && echo yes`:                                                    "yes",
		`sudo -u no-such-user true 2>&1 || echo $?`:                                   "sudo: unknown user no-such-user\n1",
		`sudo -l && echo may`:                                                         "may",
		`mv /etc/sudoers.d/zuul /tmp; sudo -n true 2>&1 || echo $?; sudo -l || echo $?; sudo -u root -- sudo true && echo never; mv /tmp/zuul /etc/sudoers.d; sudo -n sudo id -un`: "sudo: a password is required\n1\n1\nroot",
		`echo in | sudo -u gitea cat; echo in | sudo cat`: "in\nin",
		`sudo -- echo -n -u`:                              "-u",
		`sudo sh -c 'exit 3'; echo $?`:                    "3",
	} {
		if got := mustRun(t, ssh, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if many {
		mustRun(t, ssh, "touch /srv/f && chown gitea:gitea /srv/f && test $(stat -c %U /srv/f) = gitea && sudo -u gitea sh -c '! touch /etc/f 2>/dev/null'")
	}
}

// Where zuul is a user of his own he has what is his, and becomes root as on any other machine.
func TestAUserOfItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for root only")
	}
	signer, key := newKey(t)
	p := open(t, sandbox.Config{Labels: []sandbox.Label{{Name: "own", OwnUser: true}}})
	i := create(t, p, "one", "own", key)
	ssh := dial(t, i.Access, "zuul", signer)
	const listen = `import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/s"); os.chmod("/tmp/s", int(sys.argv[1], 8)); s.listen(); os.rename("/tmp/s", "/tmp/ready")
c, _ = s.accept(); print(struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])`
	const call = `import socket
try: socket.socket(socket.AF_UNIX).connect("/tmp/ready")
except PermissionError: print("refused")`
	const wait = "; until [ -S /tmp/ready ]; do sleep 0.05; done; "
	for _, c := range [][2]string{
		{"sudo python3 -c '" + listen + "' 666 & true" + wait + "python3 -c '" + call + "'; wait; sudo rm /tmp/ready", "(1000, 1000)"},
		{"sudo python3 -c '" + listen + "' 600 & true" + wait + "python3 -c '" + call + "'; sudo python3 -c '" + call + "'; wait; sudo rm /tmp/ready", "refused\n(0, 0)"},
		{"id -un; id -u; touch f; stat -c %U:%G f .ssh; pwd", "zuul\n1000\nzuul:zuul\nzuul:zuul\n/home/zuul"},
		{"touch /etc/f 2>/dev/null || echo refused; cat /etc/shadow 2>/dev/null || echo refused", "refused\nrefused"},
		{"sudo -H -S -n  -u root /bin/sh -c 'echo BECOME-SUCCESS ; id -u; echo $HOME'", "BECOME-SUCCESS\n0\n/root"},
		{"sudo useradd -m -s /bin/sh gitea && sudo -nu gitea sh -c 'id -un; echo $HOME $SUDO_USER'", "gitea\n/home/gitea zuul"},
		{"cd /tmp && sudo pwd; sudo -i pwd; sudo A=b printenv A", "/tmp\n/root\nb"},
		{"A=b sudo printenv A || echo none", "none"},
		{"echo in | sudo cat; echo in | sudo -u gitea cat; sudo sh -c 'echo err >&2' 2>&1", "in\nin\nerr"},
		{"sudo sh -c 'exit 3'; echo $?; sudo sh -c 'kill -9 $$'; echo $?", "3\n137"},
		{"sudo sh -c 'trap \"echo caught; exit 4\" TERM; echo ready; sleep 60 & wait' > out & p=$!; until grep -q ready out 2>/dev/null; do sleep 0.05; done; kill $p; wait $p; echo $?; cat out", "4\nready\ncaught"},
		{"chmod 0 f; cat f 2>/dev/null || echo kept", "kept"},
		{"sudo rm /etc/sudoers.d/zuul; sudo -n true 2>&1 || echo $?", "sudo: a password is required\n1"},
	} {
		if got := mustRun(t, ssh, c[0]); got != c[1] {
			t.Errorf("%s: %q, want %q", c[0], got, c[1])
		}
	}
}

// A server whose umask keeps its own files from others makes nodes like any other.
func TestUmaskOfTheServer(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	i, signer := one(t)
	ssh := dial(t, i.Access, "zuul", signer)
	if got := mustRun(t, ssh, "umask; stat -c %a / /etc /etc/passwd /usr /usr/local/bin"); got != "0022\n755\n755\n644\n755\n755" {
		t.Errorf("the modes on the node are %q", got)
	}
	mustRun(t, ssh, "useradd -m gitea && sudo -nu gitea cat /etc/hosts /home/gitea/.profile")
}
