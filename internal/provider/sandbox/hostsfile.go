package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// The lines of /etc/hosts between these are Gozer's; playbooks may write what they like around them.
const (
	hostsBegin = "# Gozer: nodes\n"
	hostsEnd   = "# Gozer: end of nodes\n"
)

// writeHostsFiles tells every machine the names of all.
func (p *Provider) writeHostsFiles() {
	p.names.Lock()
	defer p.names.Unlock()
	machines := p.machines()
	var lines []string
	for _, m := range machines {
		if up, at, _ := m.state(); up {
			lines = append(lines, fmt.Sprintf("%s %s\n", at.Addr(), m.name))
		}
	}
	slices.Sort(lines)
	block := hostsBegin + strings.Join(lines, "") + hostsEnd
	for _, m := range machines {
		if up, _, _ := m.state(); !up {
			continue
		}
		if err := m.writeHosts(block); err != nil {
			// A node whose user made its /etc a link must not keep others from being made.
			p.log.Warn("write /etc/hosts", "provider", p.cfg.Name, "node", m.name, "err", err)
		}
	}
}

// machines are all that were started.
func (p *Provider) machines() []*machine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*machine
	for _, h := range p.hosts {
		all = append(all, h.machine)
	}
	for _, i := range p.instances {
		if i.host == nil && i.machine != nil {
			all = append(all, i.machine)
		}
	}
	return all
}

func (m *machine) writeHosts(block string) error {
	root, err := os.OpenRoot(m.path("root"))
	if err != nil {
		return err
	}
	defer root.Close()
	have, err := root.ReadFile("etc/hosts")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	want := replaceBlock(string(have), block)
	if want == string(have) {
		return nil
	}
	return root.WriteFile("etc/hosts", []byte(want), 0o644)
}

// replaceBlock puts block in the place of the one in text, or at its end.
func replaceBlock(text, block string) string {
	before, rest, ok := strings.Cut(text, hostsBegin)
	if !ok {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + block
	}
	_, after, _ := strings.Cut(rest, hostsEnd)
	return before + block + after
}
