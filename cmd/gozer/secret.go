package main

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/secret"
)

func secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret", Short: "Encrypt secrets for zuul.yaml", GroupID: "local",
	}
	cmd.AddCommand(secretEncrypt())
	return cmd
}

func secretEncrypt() *cobra.Command {
	var s serverFlags
	var project, publicKey, in, out, name, field, format string
	var noStrip bool
	cmd := &cobra.Command{
		Use: "encrypt --project PROJECT", Short: "Encrypt a value to a project's key", Args: cobra.NoArgs,
		Long: `Encrypts what is read from standard input (on a terminal it is asked for, unseen) to the public key of a project,
and prints the secret to be pasted into the project's zuul.yaml. Only the project's own jobs can use it. A value of
any length is split into chunks, as the key holds 470 bytes.

The key comes from a server of Gozer or Zuul (--server, --tenant, --project), from a URL, or from a file
(--public-key). White space at the ends of the value is dropped unless --no-strip is given.

--format yaml is a whole secret, field only the field of it, for a secret that you have, chunks the base64 text.`,
		Example: `  gozer secret encrypt --project org/web --name web-token --field token
  gozer secret encrypt --project org/web --name ssh --field key --in ~/.ssh/id_ed25519
  gozer secret encrypt --public-key https://zuul.example.org/api/tenant/t/key/org/web.pub < token
  gozer secret encrypt --public-key web.pub --format field --field token < token`,
	}
	s.add(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&project, "project", "p", "", "project that the secret is for")
	fl.StringVar(&publicKey, "public-key", "", "file or URL of a project's public key (PEM), in place of asking a server")
	fl.StringVar(&in, "in", "-", "file to encrypt; - is standard input")
	fl.StringVarP(&out, "out", "o", "-", "file to write; - is standard output")
	fl.StringVar(&name, "name", "my-secret", "name of the secret")
	fl.StringVar(&field, "field", "value", "name of the field in it")
	formats(cmd, &format, "yaml", "field", "chunks")
	fl.BoolVar(&noStrip, "no-strip", false, "keep white space at the ends of the value")
	// The names that zuul-client has for them.
	for zuul, ours := range map[string]string{"infile": "in", "outfile": "out", "secret-name": "name", "field-name": "field"} {
		fl.Var(fl.Lookup(ours).Value, zuul, "")
		_ = fl.MarkHidden(zuul)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write := secretFormats[format]
		pub, err := s.secretsKey(cmd, project, publicKey)
		if err != nil {
			return err
		}
		plain, err := readSecret(cmd, in)
		if err != nil {
			return err
		}
		if !noStrip {
			plain = bytes.TrimSpace(plain)
		}
		if len(plain) == 0 {
			return errors.New("there is nothing to encrypt: the value is empty")
		}
		chunks, err := secret.Encrypt(pub, plain)
		if err != nil {
			return err
		}
		text := write(name, field, chunks)
		if out == "-" {
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		}
		return os.WriteFile(out, []byte(text), 0o644)
	}
	return cmd
}

var secretFormats = map[string]func(name, field string, chunks []string) string{
	"yaml":   secret.YAML,
	"field":  func(_, field string, chunks []string) string { return secret.Field(field, chunks) },
	"chunks": func(_, _ string, chunks []string) string { return strings.Join(chunks, "\n") + "\n" },
}

// secretsKey finds the public key: in a file, at a URL, or at the server.
func (s *serverFlags) secretsKey(cmd *cobra.Command, project, from string) (*rsa.PublicKey, error) {
	var text []byte
	var err error
	switch {
	case strings.HasPrefix(from, "http://"), strings.HasPrefix(from, "https://"):
		text, err = download(cmd.Context(), from)
	case from != "":
		text, err = os.ReadFile(from)
	case project == "":
		return nil, errors.New("say whose key is meant: --project PROJECT, of a server, or --public-key FILE")
	default:
		client, tenant, err := s.open(cmd)
		if err != nil {
			return nil, err
		}
		pem, err := client.Key(cmd.Context(), tenant, project)
		if err != nil {
			return nil, err
		}
		text = []byte(pem)
	}
	if err != nil {
		return nil, err
	}
	pub, err := secret.ParsePublicPEM(text)
	if err != nil && from != "" {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return pub, err
}

func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answers %s", url, r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 1<<20))
}

// maxSecret bounds what is encrypted: each 470 bytes of it cost a thousand characters of YAML.
const maxSecret = 1 << 20

func readSecret(cmd *cobra.Command, in string) ([]byte, error) {
	var r io.Reader = cmd.InOrStdin()
	if in != "-" {
		f, err := os.Open(in)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		r = f
	} else if fd := int(os.Stdin.Fd()); r == os.Stdin && term.IsTerminal(fd) {
		fmt.Fprint(os.Stderr, "value (it is not shown): ")
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		return nil, fmt.Errorf("the value has more than %d bytes", maxSecret)
	}
	return b, err
}
