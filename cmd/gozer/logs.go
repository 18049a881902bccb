package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/config"
)

func logsCommand() *cobra.Command {
	var s serverFlags
	var follow, tasks bool
	var task, search string
	cmd := &cobra.Command{
		Use: "logs BUILD", Short: "Print the log of a build, or follow it", GroupID: "use", Args: cobra.ExactArgs(1),
		Long: `BUILD is a build's UUID, or its beginning, or the name of a job: its newest build, the one that runs
first. A connection that breaks is taken up again at the line where it was.`,
		Example: "  gozer logs unit -f\n  gozer logs unit --tasks\n  gozer logs 4f1c2a9b --task 'install packages'\n  gozer logs unit --search error",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			build, err := findBuild(cmd.Context(), c, tenant, args[0])
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			show := func(lines []string) error {
				_, err := io.WriteString(out, strings.Join(lines, "\n")+"\n")
				return err
			}
			switch {
			case tasks:
				return listTasks(cmd.Context(), c, build, out)
			case search != "":
				return searchLog(cmd.Context(), c, build, search, out)
			case task != "":
				return logOfTask(cmd.Context(), c, build, task, follow, show)
			}
			return c.Log(cmd.Context(), build, 0, follow, show)
		},
	}
	s.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the build ends")
	cmd.Flags().StringVar(&task, "task", "", "only the tasks and playbooks of this name, or with this in their name")
	cmd.Flags().BoolVar(&tasks, "tasks", false, "list the playbooks and tasks with their lines")
	cmd.Flags().StringVar(&search, "search", "", "only lines that contain this text, whatever its case")
	cmd.MarkFlagsMutuallyExclusive("task", "tasks", "search")
	cmd.MarkFlagsMutuallyExclusive("follow", "tasks", "search")
	return cmd
}

// findBuild finds a build by its UUID, the beginning of it, or the name of its job: builds that run come
// before those that ended.
func findBuild(ctx context.Context, c *api.Client, tenant, what string) (string, error) {
	if len(what) == 36 && strings.Count(what, "-") == 4 {
		return what, nil
	}
	var found string
	err := c.Follow(ctx, tenant, func(v *api.View) error {
		for _, it := range v.Items {
			for _, j := range it.Jobs {
				if j.Build != "" && (j.Name == what || isPrefix(what, j.Build)) {
					found = j.Build
				}
			}
		}
		return errSeen
	})
	if err != nil && err != errSeen {
		return "", err
	}
	if found != "" {
		return found, nil
	}
	for _, q := range []url.Values{{"job_name": {what}, "limit": {"1"}}, {"limit": {"1000"}}} {
		builds, err := c.Builds(ctx, tenant, q)
		if err != nil {
			return "", err
		}
		for _, b := range builds {
			if b.JobName == what || isPrefix(what, b.UUID) {
				return b.UUID, nil
			}
		}
	}
	return "", noBuild(ctx, c, tenant, what)
}

// noBuild says that nothing is called so, and which jobs that have run are called nearly so.
func noBuild(ctx context.Context, c *api.Client, tenant, what string) error {
	none := fmt.Sprintf("tenant %s has no build, and no build of a job, named %q", tenant, what)
	builds, err := c.Builds(ctx, tenant, url.Values{"limit": {"1000"}})
	if err != nil {
		return err
	}
	var near []string
	for _, b := range builds {
		if (strings.Contains(b.JobName, what) || config.Suggest(what, []string{b.JobName}) != "") && !slices.Contains(near, b.JobName) {
			near = append(near, b.JobName)
		}
	}
	slices.Sort(near)
	switch n := len(near); {
	case n > 5:
		return fmt.Errorf("%s; jobs with that in their name: %s and %d more", none, strings.Join(near[:5], ", "), n-5)
	case n > 0:
		return fmt.Errorf("%s; did you mean %s?", none, strings.Join(near, " or "))
	}
	return errors.New(none)
}

// errSeen ends following after the first look.
var errSeen = fmt.Errorf("seen")

// isPrefix tells whether a text is the beginning of a UUID that one would type.
func isPrefix(what, uuid string) bool { return len(what) >= 6 && strings.HasPrefix(uuid, what) }

func listTasks(ctx context.Context, c *api.Client, build string, out io.Writer) error {
	i, err := c.LogIndex(ctx, build, "")
	if err != nil {
		return err
	}
	failed := map[string][]string{}
	for _, f := range i.Failures {
		failed[f.Task] = append(failed[f.Task], f.Host)
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "LINES\tNAME\tFAILED ON")
	for _, s := range i.Sections {
		name := map[string]string{"playbook": "", "play": "  PLAY ", "task": "    TASK "}[s.Kind] + s.Name
		to := fmt.Sprint(s.To)
		if s.Open {
			to = ""
		}
		fmt.Fprintf(tw, "%d-%s\t%s\t%s\n", s.From+1, to, name, strings.Join(failed[s.Name], ", "))
	}
	return tw.Flush()
}

func searchLog(ctx context.Context, c *api.Client, build, text string, out io.Writer) error {
	found := false
	for from := 0; ; {
		h, err := c.LogSearch(ctx, build, text, from)
		if err != nil {
			return err
		}
		for _, x := range h.Hits {
			found = true
			from = x.Line + 1
			fmt.Fprintf(out, "%d: %s\n", x.Line+1, x.Text)
		}
		if !h.More {
			break
		}
	}
	if !found {
		return exitError{exitNo, fmt.Sprintf("no line contains %q", text)}
	}
	return nil
}

// logOfTask prints the parts that are meant by a name; without follow, only what is there now.
func logOfTask(ctx context.Context, c *api.Client, build, task string, follow bool, show func([]string) error) error {
	found := false
	if follow {
		err := c.LogOf(ctx, build, task, func(lines []string) error { found = true; return show(lines) })
		if err == nil && !found {
			err = fmt.Errorf("no playbook or task of build %s has %q in its name; see --tasks", build, task)
		}
		return err
	}
	i, err := c.LogIndex(ctx, build, task)
	if err != nil {
		return err
	}
	for _, part := range i.Sections {
		found = true
		if err := c.LogRange(ctx, build, part.From, part.To, show); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no playbook or task of build %s has %q in its name; see --tasks", build, task)
	}
	return nil
}
