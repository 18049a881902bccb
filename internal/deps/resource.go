package deps

import (
	"fmt"
	"path"
	"regexp"
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
	Database       = "database"
	Image          = "image"
	// Machine is a whole host, which only a reboot takes.
	Machine = "host"
)

var kinds = []string{Database, File, Service, PackageManager, Firewall, Account, Container, Kubernetes, Endpoint, Vault, Cloud, DNS, Certificate, Image}

// hostless are the kinds that belong to no host.
var hostless = map[string]bool{Kubernetes: true, Vault: true, Cloud: true, DNS: true, Image: true}

// String is "file /etc/hosts on gitea01", "endpoint gitea01:3081" and so on.
func (r Resource) String() string {
	switch {
	case r.Kind == Endpoint:
		return fmt.Sprintf("endpoint %s:%s", r.Host, r.Name)
	case r.Kind == Machine:
		return "the host " + r.Host
	case r.Kind == Kubernetes:
		return kubernetesText(r)
	case r.Kind == Cloud:
		return cloudText(r.Name)
	case r.Host == "":
		return r.Kind + " " + r.Name
	case r.Name == "":
		return fmt.Sprintf("the %s of %s", strings.ReplaceAll(r.Kind, "-", " "), r.Host)
	}
	return fmt.Sprintf("%s %s on %s", r.Kind, r.Name, r.Host)
}

var cloudObject = regexp.MustCompile(`^(\S+) (.+) \((.+)\)$`)

// cloudText is "the image base in the cloud prod".
func cloudText(name string) string {
	if m := cloudObject.FindStringSubmatch(name); m != nil {
		return fmt.Sprintf("the %s %s in the cloud %s", m[3], m[2], m[1])
	}
	return Cloud + " " + name
}

// kubernetesText is "Service app of namespace web in the cluster prod".
func kubernetesText(r Resource) string {
	context, namespace, kind, name := object(r)
	if kind == "" {
		return r.Kind + " " + r.Name
	}
	text := kind + " " + name
	if namespace != "" {
		text += " of namespace " + namespace
	}
	config, host, ok := strings.Cut(context, "@")
	switch {
	case !ok:
		return text + " in the cluster " + context
	case config != "" && host != "":
		return fmt.Sprintf("%s in the cluster of %s on %s", text, config, host)
	case config+host != "":
		return fmt.Sprintf("%s in the cluster of %s", text, config+host)
	}
	return text
}

// Verb is what a task does with a resource.
type Verb string

// The verbs. Fill: it writes files below a directory, whose names it does not say. Tree: it manages all
// below a directory. Contact: it talks to an endpoint. Restart includes reload. Make: it makes a
// directory. Test: it looks whether a file is there.
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
	Make    Verb = "make"
	Test    Verb = "test"
)

var verbs = []Verb{Read, Write, Edit, Fill, Tree, Restart, Use, Serve, Contact, Make, Test}

// Access is one task's doing with one resource.
type Access struct {
	Resource
	Verb Verb
	Task *Task
	// Weak: the table says that the module may do it, not that it does.
	Weak bool
	// Sure: it surely happens, and no condition can stop it.
	Sure bool
	// Named: a file that the task lays down, or a command, names it.
	Named bool
	// At is the place, where it is not that of the task.
	At Place
	// Rule is the rule of edges that follow from it, where it is not the usual one.
	Rule string
	// Names are those under which an endpoint is served.
	Names []string
	// Detail tells apart what the resource does not: the host name that a request asks for.
	Detail string
}

// Place is where it is written.
func (x Access) Place() Place {
	if x.At.File != "" {
		return x.At
	}
	return x.Task.At
}

// generic are directories that are everybody's: that two jobs write below them says nothing.
var generic = set(strings.Fields(`/ /bin /boot /dev /etc /home /lib /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /var
		/usr/bin /usr/lib /usr/local /usr/local/bin /usr/local/etc /usr/local/lib /usr/local/sbin /usr/local/share /usr/local/src
		/usr/sbin /usr/share /usr/share/keyrings /var/backups /var/cache /var/lib /var/log /var/mail /var/opt /var/run /var/spool
		/var/tmp /var/www /var/www/html /etc/apache2 /etc/apt /etc/apt/apt.conf.d /etc/apt/keyrings /etc/apt/preferences.d
		/etc/apt/sources.list.d /etc/apt/trusted.gpg.d /etc/ca-certificates /etc/cron.d /etc/cron.daily /etc/cron.hourly
		/etc/cron.monthly /etc/cron.weekly /etc/default /etc/docker /etc/httpd /etc/init.d /etc/ld.so.conf.d /etc/logrotate.d
		/etc/modprobe.d /etc/modules-load.d /etc/network /etc/nginx /etc/nginx/conf.d /etc/nginx/sites-available
		/etc/nginx/sites-enabled /etc/apache2/sites-available /etc/apache2/sites-enabled /etc/apache2/conf-available
		/etc/apache2/conf-enabled /etc/apache2/mods-enabled /etc/pki /etc/profile.d /etc/rsyslog.d /etc/security
		/etc/security/limits.d /etc/skel /etc/ssh /etc/ssl /etc/ssl/certs /etc/ssl/private /etc/sudoers.d /etc/sysconfig
		/etc/sysctl.d /etc/systemd /etc/systemd/system /etc/systemd/network /etc/tmpfiles.d /etc/udev/rules.d /etc/yum.repos.d
		/lib/systemd/system /usr/lib/systemd/system /home/zuul /home/ubuntu /home/debian /var/lib/docker`))

func set(words []string) map[string]bool {
	out := map[string]bool{}
	for _, w := range words {
		out[w] = true
	}
	return out
}

// shared reports whether a directory is everybody's.
func shared(dir string) bool {
	dir = path.Clean(dir)
	return generic[dir] || strings.Count(dir, "/") < 2 || strings.HasPrefix(dir, "/home/") && strings.Count(dir, "/") == 2 ||
		strings.HasPrefix(dir, "/tmp/") && strings.Count(dir, "/") < 2
}
