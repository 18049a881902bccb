package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/examples"
	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/deps/report"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// demoDeps ends the story of the demo: what gozer deps finds in the repository that was just deployed, and what
// more jobs at a time would take, by the durations just measured.
func demoDeps(cmd *cobra.Command, set *settings.Settings) error {
	dir, err := os.MkdirTemp("", "gozer-demo-deps-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sources, err := fs.Sub(examples.OpenDev, "opendev/system-config")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "system-config")
	if err := os.CopyFS(path, sources); err != nil {
		return err
	}
	a, err := (&contentFlags{dir: set.Ansible.Dir, seconds: 20}).open(cmd, path)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	found := a.Audit(deps.AuditOptions{Today: time.Now().Format(time.DateOnly)})
	fmt.Fprintf(out, "\n7. What the deployment jobs depend on, as gozer deps reads it from their playbooks\n\n")
	for _, f := range found.Findings {
		if f.Level != deps.LevelNote {
			fmt.Fprintf(out, "   %-7s %s\n           %s\n", f.Level, f.Text, f.At)
		}
	}
	fmt.Fprintf(out, "   %s. The example has these mistakes on purpose.\n", report.Summary(found))
	d := durationFlags{ask: true, fallen: time.Second, server: serverFlags{url: set.Root, tenant: "opendev"}}
	p := a.Pipeline("deploy")
	took, err := d.of(cmd, p)
	if err != nil {
		return err
	}
	s, err := a.Simulate(p, deps.SimulateOptions{Durations: took})
	if err != nil {
		return err
	}
	var steps []string
	for _, st := range s.Steps {
		steps = append(steps, fmt.Sprintf("%d at a time %s", st.Slots, timeline.Short(st.Schedule.Makespan)))
	}
	fmt.Fprintf(out, "\n   With the durations just measured, gozer deps simulate says: %s;\n   no schedule with 4 beats %s.\n",
		strings.Join(steps, ", "), s.Chart.Bound)
	return nil
}
