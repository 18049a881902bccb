package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/api"
)

// broken is a job that fails.
const broken = "#!/bin/sh\ntouch $HOME/was-here\necho it is broken\nexit 3\n"

// appFiles is a project with one job on a node.
func appFiles() map[string]string {
	return map[string]string{
		".zuul.yaml": `- job:
    name: unit
    run: tools/test.sh
    nodeset: {nodes: [{name: node, label: small}]}
- project:
    check: {jobs: [unit]}
`,
		"tools/test.sh": `#!/bin/sh
echo "this is $(hostname)"
`,
	}
}

func (s *site) nodes(args ...string) (out []api.Node) {
	s.Helper()
	text := s.must(append([]string{"nodes", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		s.Fatal(err)
	}
	return out
}

// The node of a failed build is kept for whoever asked, can be logged in to, and goes when the hold ends.
func TestAutoholdFromRequestToShell(t *testing.T) {
	s := newSite(t, appFiles())
	if out, code := s.gozer("autohold", "--project", "nobody", "--job", "unit", "--reason", "x"); code != exitFailed || !strings.Contains(out, "project nobody in tenant example") {
		t.Errorf("a project that is not there: exit %d, %s", code, out)
	}
	n := s.propose("break it", map[string]string{"tools/test.sh": broken})
	out := s.must("autohold", "--project", "app", "--job", "unit", "--change", fmt.Sprint(n), "--reason", "ann looks", "--node-hold-expiration", "3600")
	id := strings.Fields(out)[1]
	if text := s.report(n); !strings.Contains(text, "FAILURE") {
		t.Errorf("the report is %s", text)
	}
	var held []api.Node
	s.wait("a held node", func() bool { held = s.nodes("--state", "hold"); return len(held) == 1 })
	h := held[0]
	if h.Comment != "ann looks" || h.Job != "unit" || h.Hold != id || h.HoldUntil == nil || h.Build == "" {
		t.Errorf("the held node is %+v", h)
	}
	if out := s.must("nodes"); !strings.Contains(out, "hold") || !strings.Contains(out, "ann looks; ends in 59m") || !strings.Contains(out, "unit (build ") {
		t.Errorf("the list is\n%s", out)
	}
	if out := s.must("autohold-list"); !strings.Contains(out, id) || !strings.Contains(out, "1 of 1") {
		t.Errorf("the holds are\n%s", out)
	}
	if out := s.must("autohold-info", id); !strings.Contains(out, "gozer nodes ssh "+h.ID) {
		t.Errorf("the hold is\n%s", out)
	}
	out, code := s.gozer("nodes", "ssh", h.ID, "--", "hostname; ls $HOME; exit 7")
	if code != 7 || !strings.Contains(out, h.ID) || !strings.Contains(out, "was-here") {
		t.Errorf("on the node: exit %d\n%s", code, out)
	}
	if out := s.must("logs", "unit", "--task", "test.sh"); !strings.Contains(out, "it is broken") || strings.Contains(out, "Job console starting") {
		t.Errorf("the log of the playbook is\n%s", out)
	}
	if out := s.must("logs", "unit", "--tasks"); !strings.Contains(out, "tools/test.sh") {
		t.Errorf("the parts of the log are\n%s", out)
	}
	if out := s.must("logs", h.Build, "--search", "IT IS BROKEN"); strings.Count(out, "\n") != 1 {
		t.Errorf("found in the log:\n%s", out)
	}
	s.must("autohold-delete", id)
	s.wait("the node to go", func() bool { return len(s.nodes()) == 0 })
	if out, code := s.gozer("nodes", "ssh", h.ID); code != exitFailed || !strings.Contains(out, "no such record") {
		t.Errorf("a node that is gone: exit %d, %s", code, out)
	}
}
