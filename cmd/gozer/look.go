package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/api"
	terminal "github.com/gozer-ci/gozer/internal/api/term"
)

// serverFlags are those of every command that asks a server.
type serverFlags struct{ url, token, tenant string }

func (s *serverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.url, "server", envOr("GOZER_SERVER", "http://127.0.0.1:8090"), "address of the server ($GOZER_SERVER)")
	cmd.Flags().StringVar(&s.token, "token", os.Getenv("GOZER_TOKEN"), "your token, where the server wants one ($GOZER_TOKEN)")
	cmd.Flags().StringVarP(&s.tenant, "tenant", "t", os.Getenv("GOZER_TENANT"), "tenant ($GOZER_TENANT; the only one)")
}

// open makes the client and finds the tenant.
func (s *serverFlags) open(cmd *cobra.Command) (*api.Client, string, error) {
	c := api.New(api.ClientConfig{URL: s.url, Token: s.token})
	if s.tenant != "" {
		return c, s.tenant, nil
	}
	names, err := c.Tenants(cmd.Context())
	if err != nil {
		return nil, "", err
	}
	if len(names) != 1 {
		return nil, "", fmt.Errorf("name the tenant with --tenant; there are: %s", strings.Join(names, ", "))
	}
	return c, names[0], nil
}

func statusCommand() *cobra.Command {
	var s serverFlags
	var components bool
	var format string
	cmd := &cobra.Command{
		Use: "status", Short: "Show what the pipelines do, live on a terminal", GroupID: "use", Args: cobra.NoArgs,
		Long: `Shows each pipeline with its items, their jobs, and why a job does not run. On a terminal the view stays and is kept
up to date until Ctrl-C; elsewhere, and with --format json, it is printed once.`,
		Example: "  gozer status\n  gozer status --components\n  gozer status --format json | jq '.items[].refs[].id'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if components {
				return showComponents(cmd, api.New(api.ClientConfig{URL: s.url, Token: s.token}), format)
			}
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			if format == "json" {
				return statusJSON(cmd, c, tenant)
			}
			show := terminal.ShowConfig{Client: c, Tenant: tenant, Out: cmd.OutOrStdout()}
			if fd := int(os.Stdout.Fd()); term.IsTerminal(fd) {
				show.Out = os.Stdout // it draws
				show.Size = func() (int, int) {
					w, h, err := term.GetSize(fd)
					if err != nil {
						return 80, 24
					}
					return w, h
				}
			}
			return terminal.Show(cmd.Context(), show)
		},
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&components, "components", false, "show the processes of the installation, and what each holds")
	formats(cmd, &format, "text", "json")
	return cmd
}

// statusJSON prints what is in the pipelines now, once.
func statusJSON(cmd *cobra.Command, c *api.Client, tenant string) error {
	err := c.Follow(cmd.Context(), tenant, func(v *api.View) error {
		if err := asJSON(cmd.OutOrStdout(), v.Snapshot()); err != nil {
			return err
		}
		return errSeen
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

func showComponents(cmd *cobra.Command, c *api.Client, format string) error {
	all, err := c.Components(cmd.Context())
	if err != nil {
		return err
	}
	if format == "json" {
		return asJSON(cmd.OutOrStdout(), all)
	}
	return terminal.Components(cmd.OutOrStdout(), all, time.Now())
}
