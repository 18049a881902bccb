package executor

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

var update = flag.Bool("update", false, "write the console of the test into the file that it is compared with")

// changing are the parts of a console that are different each time.
var changing = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \| ?`), ""},
	{regexp.MustCompile(`/\S+/builds/[^/]+/`), "BUILD/"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}`), "WHEN"},
	{regexp.MustCompile(`\d:\d\d:\d\d\.\d{6}`), "TIME"},
	{regexp.MustCompile(`(?m)^localhost \|   File .*\n|^localhost \|     .*\n`), ""},
}

// The console has the lines that Zuul's has, so that people and tools that read those read these.
func TestTheConsoleReadsLikeZuuls(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", files(t, "testdata/console"))
	end, log := w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.yaml")} }))
	if want := "Task \"The end\" failed on localhost: non-zero return code\nlocalhost | because"; end.Result != pipeline.Failure || end.Detail != want {
		t.Errorf("%s: %s", end.Result, end.Detail)
	}
	for _, c := range changing {
		log = c.re.ReplaceAllString(log, c.by)
	}
	golden := "testdata/console.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(log), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(log, "\n")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
