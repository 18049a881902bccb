package main

import (
	"strings"
	"testing"
)

// An executor is paused, drained and stopped by commands; a job on a node does not reach the server that
// nobody has to log in to, and reaches what is named.
func TestExecutorCommands(t *testing.T) {
	s := newSite(t, appFiles())
	n := s.propose("try the server", map[string]string{"tools/test.sh": `#!/bin/sh
python3 - <<'EOF'
import socket
for port in (` + strings.SplitN(s.set.Listen, ":", 2)[1] + `,):
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "::1"):
        try:
            socket.create_connection((host, port), 5)
            print("reached", host)
        except OSError as e:
            print("kept from", host, e.strerror)
EOF
`})
	if text := s.report(n); !strings.Contains(text, "SUCCESS") {
		t.Errorf("the report is %s", text)
	}
	if out := s.must("logs", "unit"); strings.Count(out, "kept from") != 4 || strings.Contains(out, "reached") {
		t.Errorf("from the node:\n%s", out)
	}
	at := []string{"--data", s.set.Data}
	if out := s.must(append([]string{"executor", "status"}, at...)...); !strings.Contains(out, ": running\n  no builds run") {
		t.Errorf("the status is %s", out)
	}
	if out := s.must(append([]string{"executor", "pause", "--reason", "new disks"}, at...)...); !strings.Contains(out, ": paused\n  paused by ") || !strings.Contains(out, "(new disks)") {
		t.Errorf("the status is %s", out)
	}
	if out := s.must("status", "--components"); !strings.Contains(out, "takes no more work: paused by ") || !strings.Contains(out, "(new disks)") {
		t.Errorf("the components are %s", out)
	}
	if out := s.must(append([]string{"executor", "keep", "--format", "json"}, at...)...); !strings.Contains(out, `"state":"paused"`) || !strings.Contains(out, `"keep":true`) {
		t.Errorf("the status is %s", out)
	}
	if out := s.must(append([]string{"executor", "graceful", "--wait"}, at...)...); !strings.Contains(out, ": stopping") || !strings.HasSuffix(out, "stopped\n") {
		t.Errorf("the status is %s", out)
	}
	if out, code := s.gozer(append([]string{"executor", "status"}, at...)...); code != exitFailed || !strings.Contains(out, "no executor answers") {
		t.Errorf("exit %d: %s", code, out)
	}
	s.must("nodes") // the rest of the server goes on
}
