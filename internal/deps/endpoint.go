package deps

import (
	"net/netip"
	"slices"
	"strings"
)

// endpoints is R11: a job talks to what another serves.
func (a *Analysis) endpoints() {
	type served struct {
		host, port string
	}
	serves := map[served][]hit{}
	named := map[string][]hit{}
	for _, j := range a.Jobs {
		for _, x := range a.access[j.Name] {
			if x.Kind == Endpoint && x.Verb == Serve {
				serves[served{x.Host, x.Name}] = append(serves[served{x.Host, x.Name}], hit{j.Name, x})
				for _, n := range x.Names {
					named[n+":"+x.Name] = append(named[n+":"+x.Name], hit{j.Name, x})
				}
			}
		}
	}
	for _, h := range a.implied() {
		at := served{h.Host, h.Name}
		if len(serves[at]) == 0 {
			serves[at] = []hit{h}
		}
	}
	for _, j := range a.Jobs {
		for _, y := range a.access[j.Name] {
			if y.Kind != Endpoint || y.Verb != Contact {
				continue
			}
			host, conf := a.reach(y)
			found := serves[served{host, y.Name}]
			if exact := named[y.Detail+":"+y.Name]; len(exact) > 0 {
				found, conf = exact, Medium
			}
			if host == "" && len(found) == 0 || slices.ContainsFunc(found, func(h hit) bool { return h.job == j.Name }) {
				continue
			}
			pairs(found, []hit{{j.Name, y}}, func(m meeting) {
				// Where names are served, one that is not among them is another's.
				if len(m.x.Names) > 0 && !slices.Contains(m.x.Names, y.Detail) && strings.Contains(y.Detail, ".") {
					return
				}
				c := certain(conf, m.x, m.y)
				if y.Named && keeps(y.Name) && a.startsThere(m.b, y.Task) {
					a.order("R11", Medium, need(m.y), m, "%s serves %s:%s, with which %s is configured", m.a, m.x.Host, m.x.Name, m.b)
					return
				}
				if y.Named {
					// Whoever reads the file may ask it, at some time.
					a.order("R11", Low, Freshness, m, "%s serves %s:%s, which a file of %s names", m.a, m.x.Host, m.x.Name, m.b)
					return
				}
				a.order("R11", c, need(m.y), m, "%s serves %s:%s, which %s talks to", m.a, m.x.Host, m.x.Name, m.b)
			})
		}
	}
}

// implied are endpoints of which only this tells: a job that sets something up on a host waits there until it
// answers, and no other job that does so asks for it. Containers with the network of their host say no ports.
func (a *Analysis) implied() []hit {
	found := map[Resource][]hit{}
	for _, j := range a.Jobs {
		sets := map[string]bool{}
		for _, x := range a.access[j.Name] {
			if (x.Kind == Container || x.Kind == Service) && x.Verb == Write {
				sets[x.Host] = true
			}
		}
		for _, y := range a.access[j.Name] {
			if y.Kind != Endpoint || y.Verb != Contact || y.Named || !sets[y.Host] || !itself(y.Detail) && y.Detail != y.Host {
				continue
			}
			r := y.Resource
			if !slices.ContainsFunc(found[r], func(h hit) bool { return h.job == j.Name }) {
				y.Verb, y.Weak, y.Sure, y.Names = Serve, true, false, nil
				found[r] = append(found[r], hit{j.Name, y})
			}
		}
	}
	var out []hit
	for _, list := range found {
		if len(list) == 1 {
			out = append(out, list[0])
		}
	}
	return out
}

func itself(name string) bool {
	return name == "localhost" || strings.HasPrefix(name, "127.") || name == "::1"
}

// reach finds the host that a request leads to, and how sure that is. A name that only begins as a host
// does may be somewhere else.
func (a *Analysis) reach(y Access) (string, Confidence) {
	name := y.Detail
	if name == "" {
		return "", Low
	}
	if itself(name) {
		return y.Host, Medium
	}
	if _, ok := a.Hosts[name]; ok {
		return name, High
	}
	if host, ok := a.names[name]; ok {
		return host, High
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", Low
	}
	if short, _, ok := strings.Cut(name, "."); ok && a.Hosts[short] != nil {
		return short, Medium
	}
	var found []string
	for h := range a.Hosts {
		if !strings.Contains(name, ".") && strings.HasPrefix(h, name+".") {
			found = append(found, h)
		}
	}
	if len(found) == 1 {
		return found[0], Medium
	}
	return "", Low
}
