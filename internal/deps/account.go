package deps

import (
	"slices"
	"strings"
)

// system are accounts that every host has, or that packages bring: who made them says nothing.
var system = set(strings.Fields(`root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody nogroup adm sudo wheel users staff tty disk
	systemd-network systemd-resolve messagebus sshd syslog docker`))

// accounts is R7: a job that needs an account comes after the one that makes it; two that manage the same keep apart.
func (a *Analysis) accounts(m meeting) {
	x, y := m.x, m.y
	switch {
	case x.Verb == Write && y.Verb == Write || x.Verb == Edit && y.Verb == Edit:
		if m.a < m.b {
			a.mutex("R7", Low, Torn, m, "both manage %s", x.Resource)
		}
	case x.Verb == Write && !absent(x.Task) && !system[x.Name] && !a.makes(m.b, x.Resource):
		conf := Medium
		if a.installs(m.b, y.Host) || y.Task.Tolerant || a.makers(x.Resource) > 1 {
			conf = Low // what it installs may bring the account
		}
		a.order("R7", conf, need(y), m, "%s makes %s, which %s needs", m.a, x.Resource, m.b)
	}
}

// installs reports whether a job installs packages on a host.
func (a *Analysis) installs(job, host string) bool {
	return slices.ContainsFunc(a.access[job], func(x Access) bool { return x.Kind == PackageManager && x.Host == host })
}

// makes reports whether a job writes a resource, or makes a directory.
func (a *Analysis) makes(job string, r Resource) bool {
	return a.made[job][r]
}

// makers counts the jobs that do.
func (a *Analysis) makers(r Resource) int {
	n := 0
	for _, j := range a.Jobs {
		if a.makes(j.Name, r) {
			n++
		}
	}
	return n
}

// owners are the accounts that a task hands a file to, or works for.
func (b *builder) owners(t *Task, hosts []string) {
	for _, key := range []string{"owner", "group"} {
		if b.table.name(t.Module) == "user" || b.table.name(t.Module) == "group" {
			return
		}
		for _, name := range lookup(t.Args, key) {
			if strings.Trim(name, "0123456789") == "" {
				continue
			}
			for _, h := range hosts {
				b.add(Access{Resource: Resource{Account, h, name}, Verb: Use, Task: t, Weak: true})
			}
		}
	}
}
