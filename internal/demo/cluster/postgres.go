package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
)

// ErrNoPostgres: the machine has no PostgreSQL server, or one that root may not run.
var ErrNoPostgres = errors.New("no PostgreSQL server can be started here (apt-get install postgresql)")

// startPostgres starts a server of its own on loopback, as its own user where we are root.
func (k *Cluster) startPostgres(ctx context.Context) error {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		return ErrNoPostgres
	}
	dir := filepath.Join(k.Dir, "postgres")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("%w: it refuses to run as root, and there is no user postgres", ErrNoPostgres)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return err
		}
		if err := reachable(k.Dir); err != nil {
			return err
		}
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(filepath.Dir(bins[len(bins)-1]), name), args...)
		cmd.SysProcAttr, cmd.Dir = attr, "/"
		return cmd
	}
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
		if out, err := run("initdb", "-D", data, "-U", "gozer", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8").CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	addr := freeAddr()
	_, port, _ := net.SplitHostPort(addr)
	log, err := os.OpenFile(filepath.Join(k.Dir, "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := run("postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	k.postgres = cmd
	k.History = "postgres://gozer@" + addr + "/postgres?sslmode=disable"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		db, err := history.Open(ctx, history.Config{URL: k.History})
		if err == nil {
			return db.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reachable lets other users through the folders above one of ours.
func reachable(dir string) error {
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(d, info.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
	}
	return nil
}
