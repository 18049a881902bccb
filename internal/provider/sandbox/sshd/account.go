package sshd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gliderlabs/ssh"
)

// account is a line of /etc/passwd. The files are read each time: playbooks add users.
type account struct {
	name, home, shell string
	uid, gid          uint32
}

var errNoAccount = errors.New("no such account")

// lookup finds an account by its name.
func lookup(name string) (*account, error) {
	var found *account
	err := eachLine("/etc/passwd", func(line string) {
		f := strings.Split(line, ":")
		if found != nil || len(f) < 7 || f[0] != name {
			return
		}
		uid, errU := strconv.ParseUint(f[2], 10, 32)
		gid, errG := strconv.ParseUint(f[3], 10, 32)
		if errU == nil && errG == nil {
			found = &account{name: name, uid: uint32(uid), gid: uint32(gid), home: f[5], shell: f[6]}
		}
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%s: %w", name, errNoAccount)
	}
	if found.shell == "" {
		found.shell = "/bin/sh"
	}
	return found, nil
}

// credential is what a process of the account runs with; nil: with what this server has, which is root's,
// and in a node that has only one user id the only one there is.
func (a *account) credential() *syscall.Credential {
	if a.uid == 0 || !mapped(a.uid) {
		return nil
	}
	c := &syscall.Credential{Uid: a.uid, Gid: a.gid}
	_ = eachLine("/etc/group", func(line string) {
		f := strings.Split(line, ":")
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), a.name) {
			return
		}
		if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(gid))
		}
	})
	return c
}

// mapped tells whether the user namespace has this user id.
func mapped(uid uint32) bool {
	has := false
	_ = eachLine("/proc/self/uid_map", func(line string) {
		var inside, outside, count uint64
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 {
			has = has || (uint64(uid) >= inside && uint64(uid) < inside+count)
		}
	})
	return has
}

// authorized tells whether the key is among those of the account, at this moment.
func (s *Server) authorized(ctx ssh.Context, key ssh.PublicKey) bool {
	a, err := lookup(ctx.User())
	if err != nil {
		s.log.Info("refused", "user", ctx.User(), "err", err)
		return false
	}
	ok := false
	err = eachLine(a.home+"/.ssh/authorized_keys", func(line string) {
		if ok || line == "" || line[0] == '#' {
			return
		}
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
			ok = ssh.KeysEqual(k, key)
		}
	})
	if err != nil {
		s.log.Info("refused", "user", a.name, "err", err)
	}
	return ok
}

// eachLine calls fn for the lines of a file.
func eachLine(path string, fn func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fn(lines.Text())
	}
	return lines.Err()
}
