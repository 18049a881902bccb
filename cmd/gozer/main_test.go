package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gozer-ci/gozer/internal/ansible"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "sandbox-node" || os.Args[1] == "run-nodes") {
		os.Exit(run(os.Args[1:])) // what this process starts when it is a server, or runs a job
	}
	if slices.Contains(os.Environ(), asGozer) {
		if text := os.Getenv(asOlder); text != "" {
			newestFormat, _ = strconv.Atoi(text)
		}
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"gozer": func() { os.Exit(run(os.Args[1:])) }})
}

var update = flag.Bool("update", false, "write what commands print into the scripts that compare it")

// TestScripts plays the stories in testdata/script, which read as documentation of the commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Condition: func(name string) (bool, error) {
			if name != "ansible" {
				return false, fmt.Errorf("the condition %q is not known", name)
			}
			_, err := ansible.Find(defaultAnsibleDir(), "9")
			return err == nil, nil
		},
		Setup: func(e *testscript.Env) error {
			// Nothing of whoever runs the tests counts.
			for _, kv := range [][2]string{
				{"GOZER_CACHE", filepath.Join(e.WorkDir, "cache")}, {"GOZER_ANSIBLE_DIR", defaultAnsibleDir()},
				{"HOME", e.WorkDir}, {"GIT_CONFIG_NOSYSTEM", "1"}, {"GIT_CONFIG_GLOBAL", os.DevNull},
				{"GIT_AUTHOR_NAME", "Ann"}, {"GIT_AUTHOR_EMAIL", "ann@example.org"},
				{"GIT_COMMITTER_NAME", "Ann"}, {"GIT_COMMITTER_EMAIL", "ann@example.org"},
				{"GOZER_SERVER", ""}, {"GOZER_TENANT", ""}, {"GOZER_TOKEN", ""},
			} {
				e.Setenv(kv[0], kv[1])
			}
			return nil
		},
	})
}
