package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/provider/sandbox/sshd"
)

// nodeEnviron is the variable in which a node finds what every session shall have in its environment, as JSON.
const nodeEnviron = "GOZER_NODE_ENVIRON"

// NodeMain is the program of a node: cmd calls it for the hidden verb "sandbox-node", with the arguments
// after that, before it does anything else. It returns the exit status. It inherits a listener and a
// pipe, to which it writes when SSH answers.
func NodeMain(args []string) int {
	if len(args) > 0 && args[0] == sudoArg {
		code, err := askSudo(args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, "sudo:", err)
		}
		return code
	}
	debug.SetGCPercent(25) // there are many nodes, and each has little to do
	err := nodeMain(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox-node:", err)
		return 1
	}
	return 0
}

func nodeMain(args []string) error {
	if len(args) == 2 && args[0] == sshd.SFTPArg {
		return sshd.ServeSFTP(stdio{}, args[1])
	}
	unix.Umask(nodeMask)
	environ := []string{"PATH=" + nodePath, "LANG=C.UTF-8"}
	var more []string
	if err := json.Unmarshal([]byte(os.Getenv(nodeEnviron)), &more); err != nil {
		return fmt.Errorf("this is run by the sandbox provider, not by hand: $%s: %w", nodeEnviron, err)
	}
	environ = append(environ, more...)
	if err := os.Unsetenv(nodeEnviron); err != nil {
		return err
	}
	flags := flag.NewFlagSet("sandbox-node", flag.ContinueOnError)
	maxSessions := flags.Int("max-sessions", 0, "sessions of one connection")
	boot := flags.Bool("boot", false, "run the files of /etc/gozer/boot.d")
	ownUser := flags.Bool("own-user", false, "zuul is not root, and asks by sudo")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	srv, err := sshd.New(sshd.Config{
		HostKey: "/etc/ssh/ssh_host_ed25519_key", MaxSessions: *maxSessions, Environ: environ, Log: log,
	})
	if err != nil {
		return err
	}
	sock := os.NewFile(fdListen, "listener")
	ln, err := net.FileListener(sock)
	if err != nil {
		return fmt.Errorf("this is run by the sandbox provider, not by hand: %w", err)
	}
	_ = sock.Close()
	ready := os.NewFile(fdReady, "ready")
	// Nothing of what this process inherited, from us or from whoever started us, is for sessions.
	if err := unix.CloseRange(fdListen, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep files from sessions: %w", err)
	}
	if *ownUser {
		if err := errors.Join(giveHome(zuulHome, zuulID), serveSudo(ctx, environ, log)); err != nil {
			return err
		}
	}
	if _, err := ready.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("tell the provider: %w", err)
	}
	if *boot {
		go runBoot(ctx, "/etc/gozer/boot.d", environ, log) // ends with the program
	}
	return srv.Serve(ctx, ln)
}

// giveHome makes a fresh home its user's.
func giveHome(dir string, id int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id, id)
	})
}

// runBoot runs the executable files of a folder, one after the other in the order of their names.
func runBoot(ctx context.Context, dir string, environ []string, log *slog.Logger) {
	files, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			log.Warn("boot", "err", err)
		}
		return
	}
	out, err := os.OpenFile("/var/log/boot.log", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		log.Warn("boot", "err", err)
		return
	}
	defer out.Close()
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
			continue
		}
		cmd := exec.CommandContext(ctx, path)
		cmd.Env = append(append([]string{}, environ...), "HOME=/root", "USER=root", "LOGNAME=root")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Run(); err != nil {
			log.Warn("boot", "file", path, "err", err)
		}
	}
}

// stdio is what an sftp process talks over.
type stdio struct{}

func (stdio) Read(b []byte) (int, error)  { return os.Stdin.Read(b) }
func (stdio) Write(b []byte) (int, error) { return os.Stdout.Write(b) }
func (stdio) Close() error                { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) }

var _ io.ReadWriteCloser = stdio{}
