package executor

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// between stands between the executor and a node.
type between struct {
	ln    net.Listener
	to    string
	delay time.Duration
	mu    sync.Mutex
	open  []net.Conn
	cut   bool
}

// standBetween takes the place of the world's node 0, for as long as the test runs.
func standBetween(t *testing.T, w *world, delay time.Duration) *between {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &w.nodes[0]
	b := &between{ln: ln, to: net.JoinHostPort(n.Host, fmt.Sprint(n.Port)), delay: delay}
	old := *n
	a, _ := ln.Addr().(*net.TCPAddr)
	n.Host, n.Port = a.IP.String(), a.Port
	t.Cleanup(func() { b.vanish(); *n = old })
	go b.serve()
	return b
}

func (b *between) serve() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			time.Sleep(b.delay)
			to, err := net.Dial("tcp", b.to)
			if err != nil {
				c.Close()
				return
			}
			b.mu.Lock()
			b.open = append(b.open, c, to)
			if b.cut {
				c.Close()
				to.Close()
			}
			b.mu.Unlock()
			go func() { _, _ = io.Copy(to, c); to.Close() }()
			_, _ = io.Copy(c, to)
			c.Close()
		}()
	}
}

// vanish is what a node does that is switched off.
func (b *between) vanish() {
	b.ln.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = true
	for _, c := range b.open {
		c.Close()
	}
}

// A node that is not as it should be is no failure of the job: it is tried again, elsewhere, and one line
// says why.
func TestNodesThatMisbehave(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/app", map[string]string{
		"run.yaml":  "- hosts: all\n  tasks:\n    - command: echo hello\n",
		"slow.yaml": "- hosts: all\n  tasks:\n    - shell: 'echo begun; sleep 3600'\n",
		"run.sh":    "#!/bin/sh\necho hello\n", "slow.sh": "#!/bin/sh\necho begun\nsleep 3600\n",
	})
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := gossh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		path   string
		spoil  func(t *testing.T) *between
		vanish bool
		// setup bounds the gathering of facts; 0: with time for it.
		setup  time.Duration
		result pipeline.Result
		detail string
	}{
		{name: "answers late", path: "run.yaml", spoil: func(t *testing.T) *between { return standBetween(t, w, 2*time.Second) }, result: pipeline.Success},
		{name: "never answers", path: "run.yaml", spoil: func(t *testing.T) *between { return standBetween(t, w, time.Hour) }, setup: 8 * time.Second, detail: "Ansible setup timeout"},
		{name: "is not there", path: "run.yaml", spoil: func(t *testing.T) *between { b := standBetween(t, w, 0); b.vanish(); return nil }, detail: "Connection refused"},
		{name: "is not there for a program", path: "run.sh", spoil: func(t *testing.T) *between { b := standBetween(t, w, 0); b.vanish(); return nil }, detail: "connection refused"},
		{name: "vanishes", path: "slow.yaml", spoil: func(t *testing.T) *between { return standBetween(t, w, 0) }, vanish: true, detail: "unreachable"},
		{name: "vanishes from a program", path: "slow.sh", spoil: func(t *testing.T) *between { return standBetween(t, w, 0) }, vanish: true, detail: "unreachable"},
		{name: "shows another key", path: "run.yaml", spoil: func(t *testing.T) *between {
			old := w.nodes[0].HostKeys
			w.nodes[0].HostKeys = []string{string(gossh.MarshalAuthorizedKey(other))}
			t.Cleanup(func() { w.nodes[0].HostKeys = old })
			return nil
		}, detail: "Host key verification failed"},
		{name: "shows a program another key", path: "run.sh", spoil: func(t *testing.T) *between {
			old := w.nodes[0].HostKeys
			w.nodes[0].HostKeys = []string{string(gossh.MarshalAuthorizedKey(other))}
			t.Cleanup(func() { w.nodes[0].HostKeys = old })
			return nil
		}, detail: "another host key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			if w.x.Limits.Setup = 10 * time.Minute; c.setup > 0 {
				w.x.Limits.Setup = c.setup
			}
			b := c.spoil(t)
			s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(c.path)}; w.onNodes(ns, s) })
			var end *pipeline.BuildEnded
			var log string
			var build sync.WaitGroup
			build.Go(func() { end, log = w.build(s) })
			if c.vanish {
				w.says(s, "| begun")
				b.vanish()
			}
			build.Wait()
			if end.Result != c.result {
				t.Errorf("result %q, want %q: %s\n%s", end.Result, c.result, end.Detail, log)
			}
			want(t, end.Detail, c.detail)
			if first, _, _ := strings.Cut(end.Detail, "\n"); len(first) > 400 {
				t.Errorf("the first line is no clear one: %s", first)
			}
		})
	}
}

// A program or a task whose connection is cut, as when its executor is killed, ends on its node with all that it began:
// it may be begun anew at once. For a program it does not help to ignore that the connection hung up (an OpenSSH does not even say so). What
// a program left running when it ended is left alone.
func TestWhatIsCutOffEndsOnItsNode(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/app", map[string]string{
		"serve.sh":  "#!/bin/sh\nsleep 1000 >/dev/null 2>&1 &\necho $! > /tmp/served\n",
		"tty.yaml":  "- hosts: all\n  gather_facts: false\n  tasks:\n    - shell: 'echo \"works on $(ps -o tty= -p $$)\"'\n",
		"slow.yaml": "- hosts: all\n  gather_facts: false\n  tasks:\n    - shell: 'sleep 1000 & echo $! > /tmp/inside; echo $$ > /tmp/outside; echo begun; wait'\n",
		"slow.sh":   "#!/bin/sh\ntrap '' HUP\nsleep 1000 & echo $! > /tmp/inside; echo $$ > /tmp/outside; echo begun; wait\n",
		"check.sh": `#!/bin/sh
for i in $(seq 100); do
	kill -0 $(cat /tmp/inside) 2>/dev/null || kill -0 $(cat /tmp/outside) 2>/dev/null || break
	sleep 0.1
done
for f in inside outside served; do kill -0 $(cat /tmp/$f) 2>/dev/null && echo "$f runs"; done
exit 0
`})
	run := func(path string) (*pipeline.BuildEnded, string) {
		return w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(path)}; w.onNodes(ns, s) }))
	}
	if end, log := run("serve.sh"); end.Result != pipeline.Success {
		t.Fatalf("%+v\n%s", end, log)
	}
	for _, hangUp := range []bool{false, true} {
		w.nodes[0].HangUp = hangUp
		end, log := run("tty.yaml")
		if end.Result != pipeline.Success || strings.Contains(log, "works on pts/") != hangUp {
			t.Errorf("hang-up %t: %+v\n%s", hangUp, end, log)
		}
	}
	access := w.nodes[0]
	for _, slow := range []string{"slow.sh", "slow.yaml"} {
		b := standBetween(t, w, 0)
		s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(slow)}; w.onNodes(ns, s) })
		var end *pipeline.BuildEnded
		var log string
		var build sync.WaitGroup
		build.Go(func() { end, log = w.build(s) })
		w.says(s, "| begun")
		b.vanish()
		if build.Wait(); end.Result != "" {
			t.Fatalf("%s: %+v\n%s", slow, end, log)
		}
		w.nodes[0] = access
		end, log = run("check.sh")
		if end.Result != pipeline.Success || !strings.Contains(log, "served runs") || strings.Contains(log, "side runs") {
			t.Errorf("%s: %+v\n%s", slow, end, log)
		}
	}
}

// Whatever a task prints, the log stays text, and says all of it.
func TestOutputOfEveryKind(t *testing.T) {
	w := newWorld(t, nil)
	const long = 3 << 20
	// Random bytes without the letters that are counted: a line of one of them would be.
	w.repo("org/app", map[string]string{
		"run.yaml": local("    - name: Binary\n      shell: \"head -c 100000 /dev/urandom | tr -d qz; echo; printf 'nul\\\\000byte\\\\n'\"\n" +
			"    - name: A long line\n      shell: \"head -c " + fmt.Sprint(long) + " /dev/zero | tr '\\\\0' q; echo; echo after\"\n" +
			"    - name: A long line that comes slowly\n      shell: \"sleep 1; head -c " + fmt.Sprint(long) + " /dev/zero | tr '\\\\0' z; sleep 1; echo; echo slow-after\"\n"),
		"run.sh": "#!/bin/sh\nhead -c 100000 /dev/urandom | tr -d qz; echo\nhead -c " + fmt.Sprint(long) + " /dev/zero | tr '\\0' q; echo; echo after\n",
	})
	for path, letters := range map[string]string{"run.yaml": "qz", "run.sh": "q"} {
		t.Run(path, func(t *testing.T) {
			w.t = t
			s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(path)} })
			end, log := w.build(s)
			if end.Result != pipeline.Success {
				t.Fatalf("end %+v", end)
			}
			if !strings.Contains(log, "localhost | after") {
				t.Error("the line after the long one is missing")
			}
			for _, letter := range letters {
				got := 0
				for line := range strings.Lines(log) {
					if _, text, ok := strings.Cut(line, "localhost | "); ok && strings.Trim(text, string(letter)+"\n") == "" {
						got += len(strings.TrimSpace(text))
					}
				}
				if got != long {
					t.Errorf("%d of %d characters %q arrived", got, long, letter)
				}
			}
		})
	}
}
