package deps

import (
	"cmp"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
)

// accesses are what the tasks of a job do with resources that other jobs can meet it at. What is private
// to a build is left out: nodes made for it, and the executor.
func (a *Analysis) accesses(j *Job) []Access {
	if j.Private {
		return nil
	}
	b := &builder{Analysis: a, job: j}
	for i := range j.Tasks {
		b.task(&j.Tasks[i])
	}
	b.seen = map[string]bool{}
	var out []Access
	for _, x := range b.out {
		if key := string(x.Verb) + x.Resource.String() + x.Place().String() + x.Rule + x.Detail; !b.seen[key] {
			b.seen[key] = true
			out = append(out, x)
		}
	}
	return out
}

type builder struct {
	*Analysis
	job  *Job
	out  []Access
	seen map[string]bool
	// mounts are the host and the container paths of each host that the job's containers have.
	mounts map[string][][2]string
}

// place finds the host that a name in a task means; empty where it is private to the build.
func (b *builder) place(t *Task, host string) string {
	if host == "localhost" || host == "127.0.0.1" || host == "::1" {
		if host = ""; t.Inner || b.job.Inner && !t.Outer {
			host = b.job.Controller
		}
	}
	if slices.Contains(b.Fresh, host) {
		return ""
	}
	return host
}

// where are the hosts on which a task acts; ok is false where that is unknown.
func (b *builder) where(t *Task) (hosts []string, ok bool) {
	names := t.Hosts
	switch d := t.Delegate.(type) {
	case nil:
		if t.Local {
			names = []string{"localhost"}
		}
	case string:
		names = []string{d}
	default:
		return nil, false
	}
	for _, n := range names {
		if h := b.place(t, n); h != "" && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts, true
}

func (b *builder) add(x Access) {
	if x.Kind == File {
		x.Name = home(x.Name, cmp.Or(x.Task.User, b.user(x)))
		if !strings.HasPrefix(x.Name, "/") && !strings.HasPrefix(x.Name, "~") {
			return
		}
		x.Name = path.Clean(x.Name)
	}
	if x.Kind == Database {
		if h, _ := b.reach(Access{Resource: x.Resource, Detail: x.Host}); h != "" {
			x.Host = h
		}
	}
	if x.Host == "" && !hostless[x.Kind] && x.Verb != Contact {
		return
	}
	if x.Task.Dry && x.Verb != Read && x.Verb != Test {
		return
	}
	x.Sure = !x.Weak && !x.Task.Guarded
	b.out = append(b.out, x)
}

// user is who works on a host where nothing says so: root, where the job's other tasks show that it may what only root
// may, as installing packages.
func (b *builder) user(x Access) string {
	if !strings.HasPrefix(x.Name, "~") || !slices.ContainsFunc(b.Jobs, func(j Job) bool {
		return slices.ContainsFunc(j.Tasks, func(t Task) bool { return t.User == "" && slices.Contains(t.Hosts, x.Host) && b.exclusively(&t) })
	}) {
		return ""
	}
	return "root"
}

// exclusively reports whether only root can carry out a task.
func (b *builder) exclusively(t *Task) bool {
	switch b.table.name(t.Module) {
	case "apt", "dnf", "yum", "package", "user", "group", "service", "systemd":
		return true
	case "command", "shell":
		return slices.ContainsFunc(b.table.command(t, []string{"h"}), func(x Access) bool { return x.Kind == PackageManager })
	}
	return false
}

// home puts a user's folder in the place of ~, where the user is known.
func home(name, user string) string {
	if rest, ok := strings.CutPrefix(name, "~"); ok && user != "" && (rest == "" || rest[0] == '/') {
		if user == "root" {
			return "/root" + rest
		}
		return "/home/" + user + rest
	}
	return name
}

func (b *builder) task(t *Task) {
	hosts, ok := b.where(t)
	if b.table.name(t.Module) == "synchronize" {
		b.synchronize(t, hosts)
	} else if ok {
		for _, x := range b.table.of(t, hosts) {
			b.follow(x)
		}
		if b.table.name(t.Module) == "pip" && slices.Contains(packages(t), "ansible") {
			for _, h := range hosts {
				b.add(Access{Resource: Resource{Service, h, "ansible"}, Verb: Write, Task: t, Weak: true})
			}
		}
		b.owners(t, hosts)
		b.mounted(t, hosts)
		for _, h := range hosts {
			b.contents(t, h)
		}
	}
	b.lookups(t)
	b.sent(t)
	b.images(t)
}

// follow adds an access with what it implies: a unit is a service, a package may be one.
func (b *builder) follow(x Access) {
	if x.Kind == File && (x.Verb == Write || x.Verb == Edit) {
		if t := x.Task; t.Folder {
			x.Verb = Fill
		} else if len(t.Sources) > 0 && strings.HasSuffix(x.Name, "/") {
			x.Name += strings.TrimSuffix(path.Base(t.Sources[0]), ".j2")
		} else if len(t.Sources) > 0 && x.Verb == Write && path.Ext(x.Name) == "" && path.Ext(strings.TrimSuffix(t.Sources[0], ".j2")) != "" &&
			path.Base(x.Name) != path.Base(t.Sources[0]) {
			x.Weak = true // it may be a folder, into which the file goes
		}
	}
	b.add(x)
	if x.Kind == File && (x.Verb == Write || x.Verb == Edit) {
		if unit := unitOf(x.Name); unit != "" {
			// A drop-in adds to a unit that is somebody's.
			b.add(Access{Resource: Resource{Service, x.Host, unit}, Verb: Write, Task: x.Task, Weak: strings.Contains(x.Name, ".d/")})
		}
		if zone := zoneOf(x.Name); zone != "" {
			b.add(Access{Resource: Resource{DNS, "", zone}, Verb: Write, Task: x.Task, Weak: true})
		}
		if strings.HasPrefix(x.Name, "/etc/iptables/") || x.Name == "/etc/nftables.conf" || x.Name == "/etc/sysconfig/iptables" {
			b.add(Access{Resource: Resource{Firewall, x.Host, ""}, Verb: Write, Task: x.Task, Weak: true})
		}
	}
	if x.Kind == Service && x.Verb == Use {
		for _, port := range stores[x.Name] {
			// Who starts it has it answer.
			b.add(Access{Resource: Resource{Endpoint, x.Host, port}, Verb: Serve, Task: x.Task, Weak: true})
		}
	}
	if x.Kind == PackageManager {
		for _, name := range packages(x.Task) {
			b.add(Access{Resource: Resource{Service, x.Host, name}, Verb: Write, Task: x.Task, Weak: true})
			for _, port := range stores[name] {
				b.add(Access{Resource: Resource{Endpoint, x.Host, port}, Verb: Serve, Task: x.Task, Weak: true})
			}
		}
	}
}

var unitFile = regexp.MustCompile(`^(?:/etc|/lib|/usr/lib|/usr/local/lib)/systemd/system/([^/]+?)\.(?:service|timer|socket)(?:\.d/.*)?$|^/etc/init\.d/([^/]+)$`)

func unitOf(file string) string {
	if m := unitFile.FindStringSubmatch(file); m != nil {
		return cmp.Or(m[1], m[2])
	}
	return ""
}

var zoneFile = regexp.MustCompile(`(?i)/(?:zones?|named|bind|nsd|knot)/(?:.*/)?(?:db\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)+?)(?:\.(?:zone|db))?$`)

// zoneOf is the zone that a file of a name server holds: by its name, or that of its folder.
func zoneOf(file string) string {
	if base := path.Base(file); base == "zone.db" || base == "zone" {
		file = path.Dir(file)
	}
	if m := zoneFile.FindStringSubmatch(file); m != nil && !strings.HasSuffix(m[1], ".conf") && !strings.HasPrefix(m[1], "named.") {
		return m[1]
	}
	return ""
}

// brings has packages that bring what goes by another name.
var brings = map[string]string{"docker-ce": "docker", "docker.io": "docker", "docker-engine": "docker", "moby-engine": "docker", "ansible-core": "ansible",
	"openssh-server": "ssh", "mariadb-server": "mariadb", "mysql-server": "mysql", "bind": "named", "bind9": "named", "ntpsec": "ntp", "isc-dhcp-server": "dhcpd"}

var versioned = regexp.MustCompile(`^(postgresql|mariadb-server|mysql-server|php\d?)-\d[\d.]*$`)

// installing are commands that install packages, with the words behind.
var installing = regexp.MustCompile(`(?:apt|apt-get|dnf|yum|zypper)\s+(?:-\S+\s+)*install\s+([^;&|\n]*)`)

func packages(t *Task) []string {
	if s, _ := t.Args["state"].(string); s == "absent" || s == "removed" {
		return nil
	}
	var out []string
	args := map[string]any{"shell": []any{}}
	for _, m := range installing.FindAllStringSubmatch(words(t), -1) {
		for _, w := range strings.Fields(m[1]) {
			if !strings.HasPrefix(w, "-") {
				args["shell"] = append(args["shell"].([]any), w)
			}
		}
	}
	for _, key := range []string{"name", "pkg", "package"} {
		args[key] = t.Args[key]
	}
	for _, key := range keys(args) {
		for _, n := range lookup(args, key) {
			for one := range strings.SplitSeq(n, ",") {
				one, _, _ = strings.Cut(strings.TrimSpace(one), "=")
				one = strings.TrimRight(one, "<>~!")
				if m := versioned.FindStringSubmatch(one); m != nil {
					one = m[1]
				}
				one = cmp.Or(brings[one], one)
				if one != "" && !strings.ContainsAny(one, "/ ") {
					out = append(out, one)
				}
			}
		}
	}
	return out
}

// contents adds what files say that the task lays down on a host.
func (b *builder) contents(t *Task, host string) {
	for i := range t.Contents {
		c := &t.Contents[i]
		if d := c.Compose; d != nil {
			b.compose(t, host, c)
		}
		for _, port := range c.Ports {
			at := Place{File: c.Source, Line: 1}
			b.add(Access{Resource: Resource{Endpoint, host, port}, Verb: Serve, Task: t, Weak: true, At: at, Names: c.Names})
		}
		for _, d := range c.Databases {
			at := d[0]
			if itself(at) {
				at = host
			}
			b.add(Access{Resource: Resource{Database, at, d[1]}, Verb: Read, Task: t, Weak: true, Named: true, At: c.at(d[0])})
		}
		for _, u := range c.URLs {
			if name, port, ok := (&AccessRule{Verb: Contact}).endpoint(nil, u, host); ok {
				b.add(Access{Resource: Resource{Endpoint, host, port}, Verb: Contact, Task: t, Weak: true, Named: true, Detail: name, At: c.at(u)})
			}
		}
		b.stored(t, host, c)
		for _, s := range c.Sockets {
			// A program that is told where its socket is makes it there.
			b.add(Access{Resource: Resource{File, host, s}, Verb: Write, Task: t, Weak: true, At: Place{File: c.Source, Line: 1}})
		}
		if c.Foreign {
			continue
		}
		for _, p := range keys(c.Paths) {
			name, ok := b.outside(host, c.Dest, p)
			if !ok || name == c.Dest {
				continue
			}
			b.add(Access{Resource: Resource{File, host, name}, Verb: Read, Task: t, Weak: true, Named: true, At: Place{File: c.Source, Line: c.Paths[p]}})
		}
	}
}

// at is the place of a host or of a URL that a file names.
func (c *Content) at(name string) Place {
	return Place{File: c.Source, Line: max(1, c.Lines[name])}
}

func (b *builder) compose(t *Task, host string, c *Content) {
	at := Place{File: c.Source, Line: 1}
	project := path.Dir(c.Dest)
	b.add(Access{Resource: Resource{Container, host, project}, Verb: Write, Task: t, At: at})
	b.add(Access{Resource: Resource{Service, host, "docker"}, Verb: Use, Task: t, Weak: true, At: at})
	for _, m := range c.Compose.Mounts {
		if strings.HasPrefix(m[0], "/") && !generic[path.Clean(m[0])] {
			b.add(Access{Resource: Resource{File, host, m[0]}, Verb: Read, Task: t, Weak: true, Named: true, At: at})
		}
	}
	for _, f := range c.Compose.Files {
		b.add(Access{Resource: Resource{File, host, f}, Verb: Read, Task: t, Weak: true, Named: true, At: at})
	}
	for _, d := range c.Compose.Databases {
		b.add(Access{Resource: Resource{Database, host, d}, Verb: Write, Task: t, Weak: true, At: at})
	}
	if c.Compose.Host {
		for _, ref := range c.Compose.Images {
			for _, port := range stores[imageName(ref)] {
				b.add(Access{Resource: Resource{Endpoint, host, port}, Verb: Serve, Task: t, Weak: true, At: at})
			}
		}
	}
	for _, p := range c.Compose.Ports {
		b.add(Access{Resource: Resource{Endpoint, host, p}, Verb: Serve, Task: t, Weak: true, At: at})
	}
}

// outside translates a path that a file names: where the file is mounted into a container, it is a path
// in there, which is one of the host only where that is mounted too.
func (b *builder) outside(host, dest, p string) (string, bool) {
	mounts := b.mountsOf(host)
	inside := slices.ContainsFunc(mounts, func(m [2]string) bool { return within(dest, m[0]) })
	if !inside {
		return p, true
	}
	best := [2]string{}
	for _, m := range mounts {
		if within(p, m[1]) && len(m[1]) > len(best[1]) {
			best = m
		}
	}
	if best[1] == "" {
		return "", false
	}
	return best[0] + strings.TrimPrefix(path.Clean(p), path.Clean(best[1])), true
}

func within(p, dir string) bool {
	p, dir = path.Clean(p), path.Clean(dir)
	return p == dir || strings.HasPrefix(p, dir+"/")
}

func (b *builder) mountsOf(host string) [][2]string {
	if b.mounts == nil {
		b.mounts = map[string][][2]string{}
		for i := range b.job.Tasks {
			t := &b.job.Tasks[i]
			hosts, _ := b.where(t)
			var list [][2]string
			for _, c := range t.Contents {
				if c.Compose != nil {
					for _, m := range c.Compose.Mounts {
						list = append(list, [2]string{absolute(m[0], path.Dir(c.Dest)), m[1]})
					}
				}
			}
			list = append(list, volumes(t.Args)...)
			for _, h := range hosts {
				b.mounts[h] = append(b.mounts[h], list...)
			}
		}
	}
	return b.mounts[host]
}

func absolute(p, dir string) string {
	if strings.HasPrefix(p, "/") {
		return p
	}
	return path.Join(dir, p)
}

// volumes are the mounts of a container module.
func volumes(args map[string]any) [][2]string {
	var out [][2]string
	for _, key := range []string{"volumes", "volume", "binds"} {
		for _, v := range lookup(args, key) {
			if host, rest, ok := strings.Cut(v, ":"); ok && strings.HasPrefix(host, "/") {
				inner, _, _ := strings.Cut(rest, ":")
				out = append(out, [2]string{host, inner})
			}
		}
	}
	return out
}

// lookups are made on the controller.
func (b *builder) lookups(t *Task) {
	host := b.place(t, "localhost")
	for _, l := range t.Lookups {
		kind, arg, _ := strings.Cut(l, " ")
		kind = kind[strings.LastIndexByte(kind, '.')+1:]
		switch {
		case (kind == "file" || kind == "template") && strings.HasPrefix(arg, "/") && host != "":
			b.add(Access{Resource: Resource{File, host, arg}, Verb: Read, Task: t})
		case strings.Contains(kind, "vault") || strings.Contains(kind, "bao"):
			if arg != "" {
				secret, _, _ := strings.Cut(strings.TrimPrefix(arg, "secret="), ":")
				secret, _, _ = strings.Cut(secret, " ")
				b.add(Access{Resource: Resource{Vault, "", secret}, Verb: Read, Task: t})
			}
		}
	}
}

// same reports whether two tasks do the same: whoever comes second changes nothing.
func same(x, y *Task) bool {
	if len(x.Contents) == 1 && len(y.Contents) == 1 && lays(x) && lays(y) && x.Contents[0].Hash == y.Contents[0].Hash && known(x, y) && asJSON(x.Args["mode"]) == asJSON(y.Args["mode"]) {
		return true
	}
	if x.Module != y.Module || len(x.Contents) != len(y.Contents) || asJSON(x.Args) != asJSON(y.Args) || asJSON(x.Sources) != asJSON(y.Sources) {
		return false
	}
	for i := range x.Contents {
		if x.Contents[i].Hash != y.Contents[i].Hash {
			return false
		}
	}
	return true
}

// lays reports whether a task lays down a whole file.
func lays(t *Task) bool {
	name := t.Module[strings.LastIndexByte(t.Module, '.')+1:]
	return name == "copy" || name == "template"
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}
