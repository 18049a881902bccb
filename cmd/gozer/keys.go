package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/secret"
	"github.com/gozer-ci/gozer/internal/settings"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Export, import and list the key pairs of projects", GroupID: "server",
		Long: `Each project has a key pair that its secrets are encrypted to, and an SSH key that its post-review jobs may use.
They are made when they are first needed. Who loses them loses all secrets: keep an export, and keep it safe.

The file of an export is that of zuul-admin export-keys: keys go from Zuul to Gozer and back, and the secrets in the
repositories stay as they are.

These commands open the store of a server, which may run or not; on its machine and as its user, where etcd is inside it.`,
	}
	cmd.AddCommand(keysExport(), keysImport(), keysList())
	return cmd
}

// withKeys opens the store that a configuration names, and what the keys need of it.
func withKeys(ctx context.Context, file string, fn func(set *settings.Settings, k *keyring) error) error {
	return withProcess(file, func(p *process) error {
		password, err := p.set.Keys.Secret()
		if err != nil {
			return err
		}
		if err := p.reachStore(ctx); err != nil {
			return err
		}
		return fn(p.set, &keyring{store: p.store, password: password})
	})
}

func configFlag(cmd *cobra.Command) *string {
	file := cmd.Flags().StringP("config", "c", os.Getenv("GOZER_CONFIG"), "configuration of the server ($GOZER_CONFIG)")
	_ = cmd.MarkFlagFilename("config", "yaml")
	return file
}

func keysExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write all keys into a file, in Zuul's format", Args: cobra.ExactArgs(1),
		Long: `Writes every key pair into FILE (- is standard output), which only you may read. Keys that are kept under a password
(keys.password of the configuration) stay encrypted with it, as Zuul wants them; others are written as they are.`,
		Example: "  gozer keys export --config gozer.yaml keys.json",
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withKeys(cmd.Context(), *file, func(_ *settings.Settings, k *keyring) error {
			list, err := k.list(cmd.Context())
			if err != nil {
				return err
			}
			if err := writeKeys(cmd.OutOrStdout(), args[0], list); err != nil {
				return err
			}
			plain := slices.ContainsFunc(list, func(s secret.Stored) bool { return !s.Locked() })
			fmt.Fprintf(cmd.ErrOrStderr(), "%s written\n", plural(len(list), "key", "keys"))
			if plain {
				fmt.Fprintln(cmd.ErrOrStderr(), "some of them are not encrypted: there is no keys.password; whoever has the file can read all secrets")
			}
			return nil
		})
	}
	return cmd
}

func writeKeys(out io.Writer, path string, list []secret.Stored) error {
	if path == "-" {
		return secret.Export(out, list)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err // an older export is not overwritten
	}
	if err := secret.Export(f, list); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func keysImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Take over keys that Zuul or Gozer exported", Args: cobra.ExactArgs(1),
		Long: `Takes over the keys of FILE (- is standard input), which zuul-admin export-keys or gozer keys export wrote. A key that
a project has already stays, unless --force is given; the command then exits with 1 and tells which.

The password is the one that the keys were exported under: for Zuul, [keystore] password of its zuul.conf. Without
--password-file it is the one of the configuration (keys.password), under which they are kept here in any case.`,
		Example: `  zuul-admin export-keys keys.json                 on the old server
  gozer keys import --config gozer.yaml --password-file zuul-keystore-password keys.json`,
	}
	file := configFlag(cmd)
	from := cmd.Flags().String("password-file", "", "file whose first line is the password of the exported keys")
	force := cmd.Flags().Bool("force", false, "replace keys that are there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			in = f
		}
		list, err := secret.Import(in)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return withKeys(cmd.Context(), *file, func(set *settings.Settings, k *keyring) error {
			password := k.password
			if *from != "" {
				if password, err = (settings.Keys{PasswordFile: *from}).Secret(); err != nil {
					return err
				}
			}
			return importKeys(cmd, set, k, list, password, *force)
		})
	}
	return cmd
}

func importKeys(cmd *cobra.Command, set *settings.Settings, k *keyring, list []secret.Stored, password string, force bool) error {
	count := map[imported]int{}
	for _, s := range list {
		for _, c := range set.Connections {
			if c.Name == s.Project.Connection {
				s.Project.Host = c.Host
			}
		}
		if s.Project.Host == "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: there is no connection %q; its key is kept for when there is\n", s.Project.Name, s.Project.Connection)
		}
		what, err := k.add(cmd.Context(), s, password, force)
		if err != nil {
			if errors.Is(err, secret.ErrPassword) {
				return fmt.Errorf("%w; name the right one with --password-file (Zuul: [keystore] password)", err)
			}
			return err
		}
		count[what]++
		if what == refused {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: another %s key is there; --force replaces it, and what was encrypted to it cannot be read any more\n", s.Project.Name, s.Kind)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s added, %d replaced, %d there already, %d left alone\n",
		plural(count[added], "key", "keys"), count[replaced], count[same], count[refused])
	if count[refused] > 0 {
		return exitError{code: exitNo}
	}
	return nil
}

func keysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the projects that have keys", Args: cobra.NoArgs,
		Example: "  gozer keys list --config gozer.yaml",
	}
	file := configFlag(cmd)
	f := format(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withKeys(cmd.Context(), *file, func(_ *settings.Settings, k *keyring) error {
			list, err := k.list(cmd.Context())
			if err != nil {
				return err
			}
			type line struct {
				Connection string    `json:"connection"`
				Project    string    `json:"project"`
				Kind       string    `json:"kind"`
				Encrypted  bool      `json:"encrypted"`
				Created    time.Time `json:"created"`
			}
			lines := []line{}
			for _, s := range list {
				l := line{s.Project.Connection, s.Project.Name, string(s.Kind), s.Locked(), time.Time{}}
				if len(s.Keys) > 0 {
					l.Created = time.Unix(s.Keys[0].Created, 0).UTC()
				}
				lines = append(lines, l)
			}
			if *f == "json" {
				return asJSON(cmd.OutOrStdout(), lines)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "CONNECTION\tPROJECT\tKEY\tKEPT\tMADE")
			for _, l := range lines {
				kept := "as it is"
				if l.Encrypted {
					kept = "encrypted"
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Connection, l.Project, l.Kind, kept, l.Created.Format(time.DateOnly))
			}
			return tw.Flush()
		})
	}
	return cmd
}

// exported opens secrets with the keys of an export.
func exported(path, passwordFile string) (func(change.Project, map[string]any) error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	list, err := secret.Import(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	password, err := settings.Keys{PasswordFile: passwordFile}.Secret()
	if err != nil {
		return nil, err
	}
	keys := map[string]*rsa.PrivateKey{}
	for _, s := range list {
		if s.Kind != secret.Secrets {
			continue
		}
		if keys[s.Project.Name], err = s.Open(password); err != nil {
			return nil, fmt.Errorf("%s: %w (--keys-password-file names the password's file)", path, err)
		}
	}
	return func(owner change.Project, data map[string]any) error {
		if !secret.Has(data) {
			return nil
		}
		key := keys[owner.Name]
		if key == nil {
			return fmt.Errorf("%s has no key for %s", path, owner.Name)
		}
		_, err := secret.OpenData(key, data)
		return err
	}, nil
}
