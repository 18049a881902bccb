package executor

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/node"
)

// hosts are the inventory's hosts: one for each name that the nodeset gives a node.
func hosts(ns job.Nodeset, nodes []node.Node, w WinRM) ([]ansible.Host, error) {
	if len(ns.Nodes) != len(nodes) {
		return nil, fmt.Errorf("the nodeset asks for %d nodes, but %d were allocated", len(ns.Nodes), len(nodes))
	}
	var out []ansible.Host
	for i, want := range ns.Nodes {
		n := nodes[i]
		for _, name := range want.Names {
			out = append(out, host(name, want.Label, n, w))
		}
	}
	return out, nil
}

// anyHostKey lets ssh talk to nodes of which nobody told the keys.
const anyHostKey = "-o StrictHostKeyChecking=false"

func host(name, label string, n node.Node, w WinRM) ansible.Host {
	v := object{"ansible_host": n.Host}
	if n.User != "" {
		v["ansible_user"] = n.User
	}
	if n.Port != 0 {
		v["ansible_port"] = n.Port
	}
	connection := n.Connection
	if connection == "" {
		connection = "ssh"
	}
	v["ansible_connection"] = connection
	if n.Shell != "" {
		v["ansible_shell_type"] = n.Shell
	}
	if n.HangUp { // Ansible asks for a terminal where it does not send modules over standard input
		v["ansible_ssh_pipelining"], v["ansible_ssh_use_tty"] = false, true
	}
	if connection == "winrm" {
		v["ansible_winrm_transport"] = "certificate"
		v["ansible_winrm_server_cert_validation"] = "ignore"
		for name, x := range map[string]string{"ansible_winrm_cert_pem": w.Cert, "ansible_winrm_cert_key_pem": w.Key} {
			if x != "" {
				v[name] = x
			}
		}
		for name, x := range map[string]int{"ansible_winrm_operation_timeout_sec": w.Operation, "ansible_winrm_read_timeout_sec": w.Read} {
			if x > 0 {
				v[name] = x
			}
		}
	}
	if connection == "ssh" && len(n.HostKeys) == 0 {
		v["ansible_ssh_common_args"] = anyHostKey
	}
	python := n.Python
	if python == "" {
		python = "auto"
	}
	props := object{}
	for k, x := range n.Properties {
		props[k] = x
	}
	v["nodepool"] = object{"label": label, "az": n.Zone, "cloud": n.Cloud, "provider": n.Provider, "region": n.Region,
		"host_id": n.HostID, "external_id": n.External, "slot": n.Slot, "interface_ip": n.Host, "public_ipv4": v4(n.Host),
		"private_ipv4": v4(n.Host), "public_ipv6": v6(n.Host), "private_ipv6": v6(n.Host), "node_properties": props}
	return ansible.Host{Name: name, Vars: v, Defaults: object{"ansible_python_interpreter": python}}
}

func v4(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() != nil {
		return host
	}
	return ""
}

func v6(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return host
	}
	return ""
}

// groups are the nodeset's, by name.
func groups(ns job.Nodeset) map[string][]string {
	out := map[string][]string{}
	for _, g := range ns.Groups {
		out[g.Name] = append(out[g.Name], g.Nodes...)
	}
	return out
}

// writeKnownHosts pins the keys that the nodes must show.
func writeKnownHosts(path string, nodes []node.Node) error {
	var b strings.Builder
	for _, n := range nodes {
		names := n.Host
		if n.Port != 0 && n.Port != 22 {
			names = fmt.Sprintf("[%s]:%d", n.Host, n.Port)
		}
		for _, k := range n.HostKeys {
			b.WriteString(names + " " + strings.TrimSpace(k) + "\n")
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
