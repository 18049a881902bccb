package deps

import (
	"slices"
	"strings"
)

// servers are modules that make a machine in a cloud, which is called as the host is.
var servers = set(strings.Fields("openstack.cloud.server os_server hcloud_server hetzner.hcloud.server ec2_instance proxmox_kvm digital_ocean_droplet"))

// machines is R9 for hosts: one job makes a host, on which the other works.
func (a *Analysis) machines() {
	makers := map[string][]hit{}
	for i := range a.Jobs {
		j := &a.Jobs[i]
		for k := range j.Tasks {
			t := &j.Tasks[k]
			if !servers[a.table.name(t.Module)] || absent(t) || t.Dry || j.Private {
				continue
			}
			for _, name := range lookup(t.Args, "name") {
				if host := a.called(name); host != "" {
					makers[host] = append(makers[host], hit{j.Name, Access{Resource: Resource{Machine, host, ""}, Verb: Write, Task: t, Weak: true}})
				}
			}
		}
	}
	if len(makers) == 0 {
		return
	}
	seen := map[[2]string]bool{}
	a.tasks(func(j *Job, t *Task, hosts []string) {
		if a.harmless(t) {
			return
		}
		for _, h := range hosts {
			if slices.ContainsFunc(makers[h], func(m hit) bool { return m.job == j.Name }) {
				continue
			}
			y := hit{j.Name, Access{Resource: Resource{Machine, h, ""}, Verb: Use, Task: t, Weak: true}}
			pairs(makers[h], []hit{y}, func(m meeting) {
				if key := [2]string{m.a, m.b}; !seen[key] {
					seen[key] = true
					a.order("R9", Medium, Bootstrap, m, "%s makes %s, on which %s works", m.a, m.x.Resource, m.b)
				}
			})
		}
	})
}

// called is the host that a machine of a cloud is: the one of its name, or the only one whose name begins so.
func (a *Analysis) called(name string) string {
	if a.Hosts[name] != nil {
		return name
	}
	host, conf := a.reach(Access{Detail: name})
	if conf == Low || strings.Contains(name, ".") || !strings.HasPrefix(host, name+".") {
		return ""
	}
	return host
}
