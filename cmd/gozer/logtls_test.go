package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/settings"
)

// certificate writes a certificate that by has signed (nil: itself), and its key.
func certificate(t *testing.T, dir, name string, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if by == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c, key
}

// Processes of one installation read each other's logs encrypted, and nobody else does.
func TestLogsBetweenMachinesAreEncrypted(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	other, otherKey := certificate(t, dir, "other", nil, nil)
	certificate(t, dir, "x1", ca, caKey)
	certificate(t, dir, "stranger", other, otherKey)
	as := func(ca, name string) *settings.LogTLS {
		return &settings.LogTLS{CA: filepath.Join(dir, ca+".pem"), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	}
	conf, err := logTLS(as("ca", "x1"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a log") }))
	srv.Listener = tls.NewListener(srv.Listener, conf)
	srv.Start()
	defer srv.Close()
	at := "https://" + srv.Listener.Addr().String()
	read := func(t *settings.LogTLS) (string, error) {
		c, err := (&process{set: &settings.Settings{Executor: settings.Executor{LogTLS: t}}}).logClient()
		if err != nil {
			return "", err
		}
		if c == nil {
			c = http.DefaultClient
		}
		r, err := c.Get(at)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return string(b), err
	}
	if got, err := read(as("ca", "x1")); err != nil || got != "a log" {
		t.Errorf("%q, %v", got, err)
	}
	for name, t2 := range map[string]*settings.LogTLS{"without a certificate": nil, "of another authority": as("ca", "stranger"), "that trusts another": as("other", "x1")} {
		if got, err := read(t2); err == nil {
			t.Errorf("somebody %s reads %q", name, got)
		}
	}
	if _, err := logTLS(&settings.LogTLS{CA: filepath.Join(dir, "none"), Cert: "x", Key: "x"}); err == nil {
		t.Error("a file that is not there is all right")
	}
}
