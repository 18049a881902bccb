package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Who begins a request and never ends it is left, and an answer may take longer than that.
func TestRequestsThatNeverEnd(t *testing.T) {
	const patience = 2 * time.Second // for one that says all it has to on a busy machine
	read := make(chan error, 2)
	srv := httptest.NewServer(patiently(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
		select {
		case <-time.After(patience + time.Second):
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}), patience))
	t.Cleanup(srv.Close)
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if err == nil {
			t.Error("half a body is read without an error")
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a client that says nothing keeps the server waiting")
	}
	resp, err := http.Post(srv.URL, "text/plain", strings.NewReader("all of it"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "done" || <-read != nil {
		t.Errorf("an answer that takes its time: %q, %v", text, err)
	}
}
