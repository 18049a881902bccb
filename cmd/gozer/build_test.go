package main

import (
	"fmt"
	"strings"
	"testing"
)

// A failure is explained: what, where, the last lines, and whether it is new.
func TestFailureIsExplained(t *testing.T) {
	s := newSite(t, appFiles())
	good := s.propose("good", map[string]string{"more": "x\n"})
	if text := s.report(good); !strings.Contains(text, "SUCCESS") {
		t.Fatal(text)
	}
	bad := s.propose("bad one", map[string]string{"tools/test.sh": broken})
	text := s.report(bad)
	for _, want := range []string{"FAILURE", `Task "tools/test.sh" failed on node`, "unit: New: the last build of this job for other changes succeeded", fmt.Sprintf("(change %d)", good)} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	out := s.must("build", "unit")
	for _, want := range []string{"unit: FAILURE after", fmt.Sprintf("app %d,1 in pipeline check", bad), `Task "tools/test.sh" failed on node, at line`, "node | it is broken", "New: the last build", "--keep-failed"} {
		if !strings.Contains(out, want) {
			t.Errorf("the build is not explained with %q:\n%s", want, out)
		}
	}
	id := strings.Fields(out[strings.Index(out, "gozer run --build "):])[3]
	if out := s.must("explain", id); !strings.Contains(out, "node | it is broken") {
		t.Errorf("explain says\n%s", out)
	}
	again := s.propose("another bad one", map[string]string{"tools/test.sh": broken})
	if text := s.report(again); !strings.Contains(text, "unit: Not new: the last build of this job for other changes failed, too, with the same error") {
		t.Errorf("the second report is\n%s", text)
	}
}
