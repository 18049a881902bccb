package deps

import (
	"fmt"
	"path"
	"strings"
)

// Resource is a thing that tasks read, write, restart or serve, and that two jobs can meet at. Two
// resources are the same where all fields are.
type Resource struct {
	Kind string `json:"kind"`
	// Host is empty for what belongs to no host (k8s, vault, cloud, dns).
	Host string `json:"host,omitempty"`
	Name string `json:"name"`
}

// The kinds of resources.
const (
	File           = "file"
	Service        = "service"
	PackageManager = "package-manager"
	Firewall       = "firewall"
	Account        = "account"
	Container      = "container"
	Kubernetes     = "k8s"
	Endpoint       = "endpoint"
	Vault          = "vault"
	Cloud          = "cloud"
	DNS            = "dns"
	Certificate    = "certificate"
)

// hostless are the kinds that belong to no host.
var hostless = map[string]bool{Kubernetes: true, Vault: true, Cloud: true, DNS: true}

// String is "file /etc/hosts on gitea01", "endpoint gitea01:3081" and so on.
func (r Resource) String() string {
	switch {
	case r.Kind == Endpoint:
		return fmt.Sprintf("endpoint %s:%s", r.Host, r.Name)
	case r.Host == "":
		return r.Kind + " " + r.Name
	case r.Name == "":
		return fmt.Sprintf("the %s of %s", r.Kind, r.Host)
	}
	return fmt.Sprintf("%s %s on %s", r.Kind, r.Name, r.Host)
}

// Verb is what a task does with a resource.
type Verb string

// The verbs. Fill: it writes files below a directory, whose names it does not say. Tree: it manages all
// below a directory. Contact: it talks to an endpoint. Restart includes reload.
const (
	Read    Verb = "read"
	Write   Verb = "write"
	Edit    Verb = "edit"
	Fill    Verb = "fill"
	Tree    Verb = "tree"
	Restart Verb = "restart"
	Use     Verb = "use"
	Serve   Verb = "serve"
	Contact Verb = "contact"
)

// Access is one task's doing with one resource.
type Access struct {
	Resource
	Verb Verb
	Task *Task
	// Weak: the table says that the module may do it, not that it does.
	Weak bool
}

// generic are directories that are everybody's: that two jobs write below them says nothing.
var generic = map[string]bool{
	"/": true, "/etc": true, "/srv": true, "/var": true, "/opt": true, "/usr": true, "/usr/local": true,
	"/usr/local/bin": true, "/home": true, "/root": true, "/tmp": true, "/var/log": true, "/var/lib": true,
	"/run": true, "/var/run": true, "/etc/cron.d": true, "/etc/logrotate.d": true, "/etc/systemd/system": true,
	"/etc/apt": true, "/etc/apt/sources.list.d": true, "/var/tmp": true, "/var/cache": true, "/etc/default": true,
	"/home/zuul": true, "/usr/local/share": true,
}

// below reports whether p is in the tree of dir, which must not be a generic directory.
func below(p, dir string) bool {
	dir = path.Clean(dir)
	return !generic[dir] && strings.Count(dir, "/") >= 2 && strings.HasPrefix(path.Clean(p), dir+"/")
}
