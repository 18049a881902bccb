package deps

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// stores are the ports at which programs that keep state answer, by the names of packages, units and images. Who is
// configured with one needs it from its start.
var stores = map[string][]string{
	"postgresql": {"5432"}, "postgres": {"5432"}, "mariadb": {"3306"}, "mysql": {"3306"}, "redis": {"6379"}, "redis-server": {"6379"}, "valkey": {"6379"},
	"memcached": {"11211"}, "zookeeper": {"2181", "2281"}, "zookeeperd": {"2181"}, "etcd": {"2379"}, "etcd-server": {"2379"}, "rabbitmq-server": {"5672"}, "rabbitmq": {"5672"},
	"elasticsearch": {"9200"}, "opensearch": {"9200"}, "mongodb-org": {"27017"}, "mongodb": {"27017"}, "mongo": {"27017"}, "mongod": {"27017"}, "slapd": {"389", "636"}, "389-ds-base": {"389", "636"}, "nfs-server": {"2049"}, "nfs-kernel-server": {"2049"},
	"vault": {"8200"}, "openbao": {"8200"}, "consul": {"8500"}, "kafka": {"9092"}, "nats": {"4222"}, "nats-server": {"4222"},
}

// keeps reports whether a port is that of a store.
func keeps(port string) bool {
	for _, ports := range stores {
		if slices.Contains(ports, port) {
			return true
		}
	}
	return false
}

// imageName is the last part of an image's name.
func imageName(ref string) string {
	name, _, _ := strings.Cut(path.Base(ref), "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// passive are files of programs that name others to ask them again and again, and start without them: proxies and
// whatever watches.
var passive = regexp.MustCompile(`/(?:haproxy|nginx|apache2?|httpd|caddy|traefik|envoy|keepalived|prometheus|alertmanager|telegraf|nagios|icinga|zabbix|blackbox|varnish)[/.\w-]*`)

// secretOption are options of a mount that name a file with a secret.
var secretOption = regexp.MustCompile(`\b(?:secretfile|credentials|keyfile|keyring)=(/[^,\s]+)`)

// mounted adds the server whose folder a task mounts, and the secret that it is mounted with.
func (b *builder) mounted(t *Task, hosts []string) {
	state, _ := t.Args["state"].(string)
	if b.table.name(t.Module) != "mount" || state != "mounted" && state != "present" {
		return
	}
	for _, opts := range lookup(t.Args, "opts") {
		for _, m := range secretOption.FindAllStringSubmatch(opts, -1) {
			for _, h := range hosts {
				b.add(Access{Resource: Resource{File, h, m[1]}, Verb: Read, Task: t, Weak: state == "present"})
			}
		}
	}
	for _, src := range lookup(t.Args, "src") {
		server, folder, ok := strings.Cut(src, ":")
		if !ok || server == "" || !strings.HasPrefix(folder, "/") || strings.Contains(server, "/") {
			continue
		}
		for _, h := range hosts {
			b.add(Access{Resource: Resource{Endpoint, h, "2049"}, Verb: Contact, Task: t, Weak: true, Detail: server})
		}
	}
}

// stored adds the stores that a file names, by host and port.
func (b *builder) stored(t *Task, host string, c *Content) {
	if passive.MatchString(c.Dest) || passive.MatchString("/"+c.Source) {
		return
	}
	for _, s := range c.Stores {
		name := s[0]
		if itself(name) {
			continue
		}
		b.add(Access{Resource: Resource{Endpoint, host, s[1]}, Verb: Contact, Task: t, Weak: true, Named: true, Detail: name, At: c.at(name)})
	}
}
