package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/demo"
	"github.com/gozer-ci/gozer/internal/settings"
)

func demoCommand() *cobra.Command {
	var data, listen, level string
	var once, fresh bool
	cmd := &cobra.Command{
		Use: "demo", Short: "See all of it on this machine", GroupID: "server", Args: cobra.NoArgs,
		Example: "  gozer demo\n  gozer demo --once --listen 127.0.0.1:9999\n  gozer demo --fresh",
		Long: `Starts one process with every role, a forge with two repositories and a fleet of 13 sandbox hosts,
and plays a story: a broken change is refused with the reason, three changes are gated at once and the bad
one is thrown out, the merge deploys 14 services in parallel, in the order that their dependencies ask for, and
a race between two of them is found and mended. Then it stays, with its page, for changes of your own.

Its data are kept in --data; started again there, it goes on where it was.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := demoDir(data, once, fresh)
			if err != nil {
				return err
			}
			if once && data == "" {
				defer os.RemoveAll(dir)
			}
			set, err := demoSettings(dir, listen)
			if err != nil {
				return err
			}
			if _, err := ansible.Find(set.Ansible.Dir, set.Ansible.Default); err != nil {
				return err
			}
			return runDemo(cmd, set, level, once)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder to keep everything in (~/.local/share/gozer/demo; with --once one that is removed)")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address of page, forge and API")
	cmd.Flags().StringVar(&level, "log", "error", "what the server logs to the terminal: debug, info, warn or error")
	cmd.Flags().BoolVar(&once, "once", false, "stop when the story is told")
	cmd.Flags().BoolVar(&fresh, "fresh", false, "forget what an earlier demo left")
	return cmd
}

func demoDir(data string, once, fresh bool) (string, error) {
	if data == "" && once {
		return os.MkdirTemp("", "gozer-demo-")
	}
	if data == "" {
		base := envOr("XDG_DATA_HOME", filepath.Join(os.Getenv("HOME"), ".local", "share"))
		data = filepath.Join(base, "gozer", "demo")
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return "", err
	}
	if fresh {
		if _, err := os.Stat(filepath.Join(data, "main.yaml")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		} else if err == nil {
			if err := os.RemoveAll(data); err != nil {
				return "", fmt.Errorf("forget the earlier demo: %w", err)
			}
		}
	}
	return data, os.MkdirAll(data, 0o700)
}

// demoSettings is the configuration of a process with everything that the example needs.
func demoSettings(dir, listen string) (*settings.Settings, error) {
	file, err := demo.TenantFile()
	if err != nil {
		return nil, err
	}
	tenants := filepath.Join(dir, "main.yaml")
	if err := os.WriteFile(tenants, file, 0o600); err != nil {
		return nil, err
	}
	fleet := settings.Provider{Name: "fleet", Driver: "sandbox"}
	for _, h := range demo.Hosts {
		host := settings.Host{Name: h, Labels: []string{demo.Label(h)}, Slots: 1}
		if h == demo.Bastion {
			host.Labels, host.Slots = append(host.Labels, demo.BastionLabel), demo.BastionSlots
		}
		fleet.Hosts = append(fleet.Hosts, host)
	}
	set := &settings.Settings{
		Data: filepath.Join(dir, "state"), Listen: listen, Tenants: tenants,
		Connections: []settings.Connection{{Name: "local", Driver: "local", Projects: demo.Projects}},
		Providers:   []settings.Provider{fleet},
		Ansible:     settings.Ansible{Dir: defaultAnsibleDir()},
	}
	return set, set.Finish(dir)
}

func runDemo(cmd *cobra.Command, set *settings.Settings, level string, once bool) error {
	out := cmd.OutOrStdout()
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	fmt.Fprintf(out, "Gozer %s: a change is proposed, tested, gated, merged and deployed.\n\n", version)
	began := time.Now()
	var played error
	told := make(chan struct{})
	started := false
	err := serve(ctx, set, allRoles, newLogger(os.Stderr, settings.Log{Level: level}), func(p *process) {
		started = true
		fmt.Fprintf(out, "One process has every role: %s   (ready in %s)\nThe page: %s\n", strings.Join(allRoles, ", "),
			time.Since(began).Round(10*time.Millisecond), set.Root)
		c := demo.Config{Data: filepath.Dir(set.Data), Server: set.Root, Forge: strings.TrimSuffix(set.Root, "/") + strings.TrimSuffix(mountPoint("local"), "/"),
			Provider: p.providers["fleet"], Out: out, Width: width()}
		if f, ok := p.forges.For("local").(interface{ AdminPassword() string }); ok {
			c.Admin = f.AdminPassword()
		}
		var err error
		if c.Program, err = os.Executable(); err != nil {
			c.Program = os.Args[0]
		}
		go func() {
			defer close(told)
			played = demo.Play(ctx, c)
			if played == nil {
				played = demoDeps(cmd, set)
			}
			if once || played != nil {
				stop()
				return
			}
			hints(cmd, set, c)
		}()
	})
	if started {
		<-told
	}
	switch {
	case cmd.Context().Err() != nil && played != nil: // told to stop, in whose middle ever
		fmt.Fprintf(out, "\nStopped. The same command goes on from here.\n")
		return err
	case played != nil && !errors.Is(played, context.Canceled):
		return fmt.Errorf("the story stopped: %w", played)
	case played != nil && err == nil && !started:
		return played
	}
	return err
}

func width() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		return w
	}
	return 0
}

// hints tell how to go on.
func hints(cmd *cobra.Command, set *settings.Settings, c demo.Config) {
	fmt.Fprintf(cmd.OutOrStdout(), `
The server stays until Ctrl-C. Now you:

  git clone %[1]s/opendev/system-config && cd system-config
  curl -fso .git/hooks/commit-msg %[1]s/tools/hooks/commit-msg && chmod +x .git/hooks/commit-msg
  (change something) && git commit -a && git push origin HEAD:refs/for/main
  gozer status --server %[2]s
  gozer deps audit
  gozer deps simulate -p deploy --from-server --server %[2]s
  gozer change --forge %[1]s vote NUMBER Approved 1
`, c.Forge, strings.TrimSuffix(set.Root, "/"))
}
