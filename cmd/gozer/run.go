package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"gocloud.dev/blob/fileblob"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
)

// runFlags are those of gozer run.
type runFlags struct {
	server                               serverFlags
	local                                checkoutFlags
	where                                where
	change, ref, build, data, ansibleDir string
	keep, keepFailed, clean, now         bool
}

func runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use: "run JOB [PATH...]", Short: "Run one job on this machine", GroupID: "local",
		Long: `Runs one frozen job here, on sandbox nodes, by the same executor that a server has, and without secrets.

With --change, --ref or --build the job and its sources are those of a build that a server ran: the same frozen job on
the same speculative commits, which are fetched and merged again. Where no build of the job for the change has ended, or
with --now, the server finds out with what it would start: the change and what it depends on merged into the branches
as they are now, its own configuration in force, the jobs before it taken to succeed.

Without these, they come from checkouts as they are, committed or not: PATH and the flags are those of gozer config.

A node that is kept (--keep, or --keep-failed where the job fails) stays until gozer run --clean; how to log in
is told at the end. The exit code is 0 where the job succeeds, 1 where it does not.`,
		Example: `  gozer run unit --project org/app --change 12            what failed on the server
  gozer run unit --project org/app --change 12 --now      as it would start now
  gozer run --build 4f1c2a9b-... --keep                   the same, of one build
  gozer run unit                                          the checkout that you are in
  gozer run unit --tenant-file main.yaml ~/src            a whole tenant of checkouts
  gozer run --clean                                       end what was kept`,
	}
	fl := cmd.Flags()
	f.local.add(cmd)
	f.where.add(cmd)
	fl.StringVar(&f.server.url, "server", envOr("GOZER_SERVER", "http://127.0.0.1:8090"), "address of the server ($GOZER_SERVER)")
	fl.StringVar(&f.server.token, "token", os.Getenv("GOZER_TOKEN"), "your token, where the server wants one ($GOZER_TOKEN)")
	fl.StringVar(&f.change, "change", "", "the newest build of the job for this change")
	fl.BoolVar(&f.now, "now", false, "with --change and --project: as the job would start now, whatever ran before")
	fl.StringVar(&f.ref, "ref", "", "the newest build of the job for this ref, such as refs/heads/main")
	fl.StringVar(&f.build, "build", "", "this build")
	fl.StringVar(&f.data, "data", "", "JSON file with what the jobs returned that this one depends on")
	fl.StringVar(&f.ansibleDir, "ansible-dir", defaultAnsibleDir(), "where gozer ansible install put Ansible")
	fl.BoolVar(&f.keep, "keep", false, "keep nodes and workspace for a look")
	fl.BoolVar(&f.keepFailed, "keep-failed", false, "the same, where the job fails")
	fl.BoolVar(&f.clean, "clean", false, "end all that was kept, and remove it")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 && !f.clean && f.build == "" {
			return errors.New("name the job, or a build with --build")
		}
		return nil
	}
	cmd.MarkFlagsMutuallyExclusive("change", "ref", "build", "clean")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.clean {
			return cleanRuns(cmd)
		}
		return f.run(cmd, args)
	}
	return cmd
}

// runsDir holds a folder for each run.
func runsDir() string { return filepath.Join(cacheDir(), "run") }

func cleanRuns(cmd *cobra.Command) error {
	all, err := os.ReadDir(runsDir())
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	for _, e := range all {
		dir := filepath.Join(runsDir(), e.Name())
		if err := stopKeeper(ctx, dir); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "removed", dir)
	}
	if len(all) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "Nothing was kept.")
	}
	return nil
}

// run makes the recipe, runs it, and tells what came of it.
func (f *runFlags) run(cmd *cobra.Command, args []string) error {
	dir, err := newRunDir()
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			_ = os.RemoveAll(dir)
		}
	}()
	var r *pipeline.Recipe
	var remotes map[string]string
	if f.change != "" || f.ref != "" || f.build != "" {
		r, remotes, err = f.fromServer(cmd, args)
	} else {
		r, remotes, err = f.fromCheckouts(cmd, args, dir)
	}
	if err != nil {
		return err
	}
	if f.data != "" {
		if err := readJSONFile(f.data, &r.Start.ParentData); err != nil {
			return fmt.Errorf("read --data: %w", err)
		}
	}
	tell := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
	for _, m := range r.Missing {
		tell("The job has secret %s on the server; here it has not.", m)
	}
	x := &localRun{dir: dir, recipe: r, remotes: remotes, ansible: f.ansibleDir, keep: f.keep || f.keepFailed, out: cmd.OutOrStdout()}
	end, err := x.do(cmd.Context())
	if err != nil {
		return err
	}
	ok := end.Result == pipeline.Success
	kept = f.keep || (f.keepFailed && !ok)
	if kept {
		err = os.WriteFile(filepath.Join(dir, keepFile), nil, 0o600)
	}
	x.release()
	if err != nil {
		return err
	}
	tell("\n%s: %s after %s", r.Start.Job.Name, end.Result, brief(end.At.Sub(end.Started)))
	if !ok && end.Detail != "" {
		tell("%s", indent(end.Detail, "  "))
	}
	for _, w := range end.Warnings {
		tell("Warning: %s", w)
	}
	if kept {
		x.tellKept(tell)
	}
	if !ok {
		return exitError{code: exitNo}
	}
	return nil
}

func newRunDir() (string, error) {
	if err := os.MkdirAll(runsDir(), 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(runsDir(), time.Now().Format("20060102-150405-"))
}

// localRun is one run of a recipe on this machine.
type localRun struct {
	dir     string
	recipe  *pipeline.Recipe
	remotes map[string]string
	ansible string
	keep    bool
	out     io.Writer

	nodes   []node.Node
	release func()
}

// do runs the recipe; an error is something that has nothing to do with the job. release must be called
// where there is none.
func (x *localRun) do(ctx context.Context) (_ *pipeline.BuildEnded, err error) {
	sb, err := sandbox.New(ctx, sandbox.Config{Cgroup: "gozer-run"})
	if err != nil {
		return nil, err
	}
	defer sb.Close()
	private, public, err := runKey()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(x.dir, "key"), private, 0o600); err != nil {
		return nil, err
	}
	if x.nodes, x.release, err = x.makeNodes(ctx, public); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			x.release()
		}
	}()
	set, err := x.forges()
	if err != nil {
		return nil, err
	}
	repos := merger.NewRepos(filepath.Join(cacheDir(), "run-sources"), set)
	defer repos.Close()
	for _, p := range x.recipe.Projects() {
		if _, err := repos.Fresh(ctx, p); err != nil {
			return nil, err
		}
	}
	logs, closeLogs, err := x.logs()
	if err != nil {
		return nil, err
	}
	defer closeLogs()
	e, err := executor.New(executor.Config{
		Blob: x.blob, ID: "run", Dir: filepath.Join(x.dir, "executor"), Ansible: executor.Ansible{Dir: x.ansible, Default: ""}, Sandbox: sb,
		Logs: logs, Sources: repos, Remerge: merger.Repeat, Nodes: runNodes(x.nodes), Secrets: noSecrets{}, Keys: [][]byte{private},
		KeepJobDir: x.keep, Limits: executor.Limits{Disk: 4 << 30},
	})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return x.build(ctx, e, logs), nil
}

// build runs the build, and shows its log meanwhile.
func (x *localRun) build(ctx context.Context, e *executor.Executor, logs *joblog.Logs) *pipeline.BuildEnded {
	s := x.start()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		var r *joblog.Reader
		for r == nil && ctx.Err() == nil {
			var err error
			if r, err = logs.Open(ctx, string(s.Build)); err != nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if r == nil {
			return
		}
		defer r.Close()
		_ = r.Follow(context.WithoutCancel(ctx), 0, func(_ int, lines []string) error {
			_, err := io.WriteString(x.out, strings.Join(lines, "\n")+"\n")
			return err
		})
	}()
	resume := make(chan struct{})
	close(resume) // nobody waits for a job that pauses
	end := e.Build(ctx, s, executor.Context{Tenant: x.recipe.Tenant, Pipeline: x.recipe.Pipeline, Resume: resume})
	<-shown
	if end.Result == "" {
		end.Result = pipeline.RetryLimit
	}
	return end
}

// start is the build as the recipe tells it, under a name of its own and on the nodes that are here.
func (x *localRun) start() *pipeline.Start {
	s := *x.recipe.Start
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	s.Build = pipeline.BuildID("run-" + hex.EncodeToString(b[:]))
	s.Attempt = s.Job.Attempts
	s.Nodes = nil
	for _, n := range x.nodes {
		s.Nodes = append(s.Nodes, n.ID)
	}
	if s.Merge != nil {
		m := *s.Merge
		m.RepoState = "recipe"
		s.Merge = &m
	}
	return &s
}

// blob gives the one blob that an executor asks for: the state of the repositories.
func (x *localRun) blob(_ context.Context, _ string, v any) error {
	b, err := json.Marshal(x.recipe.Repos)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func (x *localRun) makeNodes(ctx context.Context, public string) ([]node.Node, func(), error) {
	want := wantedNodes{Key: public}
	if _, err := os.Stat(x.ansible); err == nil {
		want.ReadOnly = []string{x.ansible}
	}
	for _, n := range x.recipe.Start.Nodeset.Nodes {
		want.Labels = append(want.Labels, n.Label)
	}
	if len(want.Labels) == 0 {
		return nil, func() {}, nil
	}
	return startNodes(ctx, x.dir, want)
}

func (x *localRun) logs() (*joblog.Logs, func(), error) {
	kept := filepath.Join(x.dir, "log")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return nil, nil, err
	}
	bucket, err := fileblob.OpenBucket(kept, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, nil, err
	}
	logs, err := joblog.New(joblog.Config{Dir: filepath.Join(x.dir, "live"), Bucket: bucket})
	return logs, func() { _ = bucket.Close() }, err
}

// forges are the connections of the recipe, as far as sources are fetched from them.
func (x *localRun) forges() (*forge.Set, error) {
	var all []forge.Forge
	for _, p := range x.recipe.Projects() {
		if x.remotes[p.Canonical()] == "" {
			return nil, fmt.Errorf("nobody tells from where project %s can be fetched", p)
		}
		if !slices.ContainsFunc(all, func(f forge.Forge) bool { return f.Name() == p.Connection }) {
			all = append(all, remotes{name: p.Connection, host: p.Host, urls: x.remotes})
		}
	}
	return forge.NewSet(all...)
}

// remotes is as much of a forge as fetching needs.
type remotes struct {
	forge.Forge
	name, host string
	urls       map[string]string
}

func (r remotes) Name() string { return r.name }
func (r remotes) Host() string { return r.host }
func (r remotes) Remote(p change.Project) forge.Remote {
	return forge.Remote{URL: r.urls[p.Canonical()]}
}

// noSecrets is a key ring without keys.
type noSecrets struct{}

func (noSecrets) Open(context.Context, job.Secret) (any, error) {
	return nil, errors.New("there are no secrets here")
}
func (noSecrets) Unseal(context.Context, string, string) (map[string]any, error) {
	return map[string]any{}, nil
}
func (noSecrets) Seal(context.Context, string, map[string]any) (string, error) { return "", nil }
func (noSecrets) SSHKey(context.Context, change.Project) ([]byte, error)       { return nil, nil }

func runKey() (private []byte, public string, err error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, "", err
	}
	block, err := gossh.MarshalPrivateKey(priv, "gozer run")
	if err != nil {
		return nil, "", err
	}
	key, err := gossh.NewPublicKey(pub)
	if err != nil {
		return nil, "", err
	}
	return pem.EncodeToMemory(block), strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))), nil
}

// tellKept says where things are, and how to log in.
func (x *localRun) tellKept(tell func(string, ...any)) {
	tell("\nKept for a look, until gozer run --clean:")
	builds, _ := filepath.Glob(filepath.Join(x.dir, "executor", "builds", "*", "work"))
	for _, b := range builds {
		tell("  workspace  %s", b)
	}
	texts, _ := filepath.Glob(filepath.Join(x.dir, "log", "*", "*", "*.txt"))
	for _, t := range texts {
		tell("  log        %s", t)
	}
	known := filepath.Join(x.dir, "known_hosts")
	var text strings.Builder
	for _, n := range x.nodes {
		for _, k := range n.HostKeys {
			at := n.Host
			if n.Port != 22 {
				at = fmt.Sprintf("[%s]:%d", n.Host, n.Port)
			}
			fmt.Fprintf(&text, "%s %s\n", at, k)
		}
	}
	if err := os.WriteFile(known, []byte(text.String()), 0o600); err != nil {
		tell("  %v", err)
	}
	for i, n := range x.nodes {
		name := strings.Join(x.recipe.Start.Nodeset.Nodes[i].Names, ", ")
		tell("  node %-6s ssh -i %s -o UserKnownHostsFile=%s -p %d %s", name, filepath.Join(x.dir, "key"), known, n.Port, n.User+"@"+n.Host)
	}
}
