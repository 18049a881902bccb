package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/gozer-ci/gozer/internal/sandbox"
)

// denied says where jobs on the executor cannot connect to: what is Gozer's own, and cloud metadata.
func (p *process) denied(ctx context.Context) (sandbox.Denied, error) {
	out := sandbox.Denied{Networks: sandbox.Metadata}
	if list := p.set.Executor.DeniedNetworks; list != nil {
		out.Networks = nil
		for _, text := range list {
			n, err := netip.ParsePrefix(text)
			if err != nil {
				return out, fmt.Errorf("executor.denied-networks: %q is no network (10.1.0.0/16, fd00::/8, 192.0.2.7/32)", text)
			}
			out.Networks = append(out.Networks, n.Masked())
		}
	}
	for _, where := range p.ownServices() {
		at, err := addresses(ctx, where)
		if err != nil {
			// It cannot be reached from here either, as long as its name means nothing.
			p.log.Warn("sandboxes are not kept from a service whose address is not known", "service", withoutPassword(where), "error", err)
			continue
		}
		out.Services = append(out.Services, at...)
	}
	return out, nil
}

// ownServices are addresses at which this process, and what it works with, listen.
func (p *process) ownServices() []string {
	own := []string{p.set.Listen, p.set.History.URL, p.set.Executor.Listen}
	if p.set.Probe != "" {
		own = append(own, p.set.Probe)
	}
	if e := p.set.Store.Etcd; e != nil {
		own = append(own, e.Endpoints...)
	}
	if m := p.set.Store.Member; m != nil { // on the loopback it asks nobody who they are
		own = append(append(own, m.Clients, m.Peers), m.Join...)
	}
	return slices.DeleteFunc(own, func(s string) bool { return s == "" })
}

// withoutPassword is an address as it may be logged.
func withoutPassword(where string) string {
	u, err := url.Parse(where)
	if err != nil || u.Host == "" {
		return where
	}
	u.RawQuery = "" // which may hold one, too
	return u.Redacted()
}

// addresses are those of a service named by host:port or by a URL; none where it is a file.
func addresses(ctx context.Context, where string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(where)
	if u, uerr := url.Parse(where); uerr == nil && u.Host != "" {
		host, port = u.Hostname(), u.Port()
		if port == "" {
			port = defaultPorts[u.Scheme]
		}
	} else if err != nil {
		return nil, nil // no address at all
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, nil
	}
	if host == "" {
		host = "0.0.0.0"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return out, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "postgres": "5432", "postgresql": "5432", "mysql": "3306"}
