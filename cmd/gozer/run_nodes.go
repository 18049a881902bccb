package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	confine "github.com/gozer-ci/gozer/internal/sandbox"
)

// Files in the folder of a run that its keeper of nodes and the run itself talk through.
const (
	wantedFile = "nodes-wanted.json"
	nodesFile  = "nodes.json"
	keepFile   = "keep"
	lockFile   = "keeper.pid"
)

// wantedNodes is what the keeper is to make.
type wantedNodes struct {
	Labels   []string `json:"labels"`
	Key      string   `json:"key"`
	ReadOnly []string `json:"read_only"`
}

// madeNodes is what it made, or why not.
type madeNodes struct {
	Nodes []node.Node `json:"nodes"`
	Error string      `json:"error,omitempty"`
}

// runNodesCommand keeps the nodes of a run, in a process of its own: sandbox nodes end with whoever made
// them, and those of a run that is to be looked at outlive it.
func runNodesCommand() *cobra.Command {
	return &cobra.Command{Use: "run-nodes FOLDER", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		signal.Ignore(os.Interrupt, syscall.SIGHUP)
		return keepNodes(ctx, args[0], cmd.InOrStdin())
	}}
}

func keepNodes(ctx context.Context, dir string, parent io.Reader) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("somebody keeps the nodes of %s already", dir)
	}
	if _, err := fmt.Fprintf(lock, "%d\n", os.Getpid()); err != nil {
		return err
	}
	p, made, err := makeNodes(ctx, dir)
	if err != nil {
		made = &madeNodes{Error: err.Error()}
	}
	if err := writeJSONFile(filepath.Join(dir, nodesFile), made); err != nil {
		return err
	}
	if p == nil {
		return nil
	}
	defer p.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, parent) // until the run has ended, however it does
	}()
	select {
	case <-ctx.Done():
	case <-gone:
		if _, err := os.Stat(filepath.Join(dir, keepFile)); err == nil {
			<-ctx.Done()
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, n := range made.Nodes {
		if err := p.Delete(last, n.ID); err != nil {
			return err
		}
	}
	return nil
}

func makeNodes(ctx context.Context, dir string) (*sandbox.Provider, *madeNodes, error) {
	var want wantedNodes
	if err := readJSONFile(filepath.Join(dir, wantedFile), &want); err != nil {
		return nil, nil, err
	}
	c := sandbox.Config{Name: "run", Folder: filepath.Join(dir, "nodes"), ReadOnly: want.ReadOnly, Denied: confine.Denied{Networks: confine.Metadata}}
	seen := map[string]bool{}
	for _, l := range want.Labels {
		if !seen[l] {
			c.Labels = append(c.Labels, sandbox.Label{Name: l})
			seen[l] = true
		}
	}
	p, err := sandbox.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	out := &madeNodes{}
	for i, l := range want.Labels {
		id := "node" + strconv.Itoa(i+1)
		x, err := p.Create(ctx, provider.Spec{ID: id, Label: l, Keys: []string{want.Key}})
		if err != nil {
			_ = p.Close()
			return nil, nil, fmt.Errorf("make a node for label %s: %w", l, err)
		}
		out.Nodes = append(out.Nodes, node.Node{ID: id, External: id, Label: l, Provider: "run", State: node.InUse, Access: x.Access})
	}
	return p, out, nil
}

// startNodes has a keeper make nodes, and waits for them. release lets the keeper know that the run ended.
func startNodes(ctx context.Context, dir string, want wantedNodes) (nodes []node.Node, release func(), err error) {
	if err := writeJSONFile(filepath.Join(dir, wantedFile), want); err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(dir, "keeper.log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, "run-nodes", dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return nil, nil, fmt.Errorf("start a keeper of nodes: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	release = func() {
		_ = w.Close()
		if _, err := os.Stat(filepath.Join(dir, keepFile)); err != nil {
			<-ended
		}
	}
	for {
		var made madeNodes
		err := readJSONFile(filepath.Join(dir, nodesFile), &made)
		if err == nil && made.Error != "" {
			err = fmt.Errorf("%s", made.Error)
		} else if err == nil {
			return made.Nodes, release, nil
		} else if os.IsNotExist(err) {
			err = nil
		}
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("the keeper of nodes ended: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if err != nil {
			release()
			return nil, nil, err
		}
	}
}

// stopKeeper ends the keeper of a run's nodes, and waits for its end; there may be none.
func stopKeeper(ctx context.Context, dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	var pid int
	if _, err := fmt.Fscan(lock, &pid); err != nil {
		return nil // it had not begun
	}
	// While somebody has the lock, the process with this number is the keeper.
	for told := false; unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; told = true {
		if !told {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				return fmt.Errorf("end process %d, which keeps the nodes of %s: %w", pid, dir, err)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// runNodes hands the nodes of a run to its executor.
type runNodes []node.Node

var _ executor.Nodes = runNodes{}

func (r runNodes) Use(context.Context, []string, pipeline.BuildID) ([]node.Node, error) {
	return r, nil
}

func (r runNodes) Release(context.Context, []string, pipeline.BuildID, executor.Release) error {
	return nil
}

func readJSONFile(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSONFile writes a file that is whole whenever it is there.
func writeJSONFile(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
