package etcd

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// listenURL checks an address to listen on and writes it as etcd wants it. The store holds
// secrets, so that only this machine may see it without TLS.
func listenURL(addr string, tls *TLSFiles) (url.URL, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return url.URL{}, err
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return url.URL{}, fmt.Errorf("%q is not an IP address", host)
	}
	if tls != nil {
		return url.URL{Scheme: "https", Host: addr}, nil
	}
	if !ip.IsLoopback() {
		return url.URL{}, errors.New("an address that other machines can reach needs TLS")
	}
	return url.URL{Scheme: "http", Host: addr}, nil
}

// apply fills in etcd's form of f.
func (f *TLSFiles) apply(to *transport.TLSInfo) {
	if f != nil {
		*to = transport.TLSInfo{CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ClientCertAuth: true}
	}
}
