package local

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Whoever looks at a page of somebody else's in a browser beside the forge neither votes nor pushes by that.
func TestPagesOfOthersAlterNothing(t *testing.T) {
	x, _ := served(t)
	x.commitFile("a", "a\n", "-m", "add a")
	x.run("push", "-q", "origin", "HEAD:refs/for/main")
	for _, c := range []struct {
		name, path string
		header     map[string]string
		want       int
	}{
		{"a program", "/api/changes/1/review", nil, 200},
		{"a page of ours", "/api/changes/1/review", map[string]string{"Origin": x.BaseURL, "Sec-Fetch-Site": "same-origin"}, 200},
		{"a page of others", "/api/changes/1/review", map[string]string{"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}, 403},
		{"one in an old browser", "/api/changes/1/review", map[string]string{"Origin": "https://evil.test"}, 403},
		{"one that had its name lead here", "/api/changes/1/review", map[string]string{"Origin": "http://evil.test", "Host": "evil.test"}, 403},
		{"a push from a page", "/org/project/git-receive-pack", map[string]string{"Origin": "https://evil.test"}, 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.BaseURL+c.path, strings.NewReader(`{"votes":{"Approved":1}}`))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		req.Host = c.header["Host"]
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode, body, c.want)
		}
	}
}

// The votes of Gozer are Gozer's.
func TestNobodyVotesInTheNameOfTheGate(t *testing.T) {
	x, _ := served(t)
	x.commitFile("a", "a\n", "-m", "add a")
	x.run("-c", "user.email=gozer@example.org", "commit", "-q", "--amend", "--no-edit", "--reset-author")
	x.run("push", "-q", "origin", "HEAD:refs/for/main")
	rec, _, err := x.record(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Owner == x.User {
		t.Errorf("the owner of the change is %s", rec.Owner)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.BaseURL+"/api/changes/1/review", strings.NewReader(`{"votes":{"Verified":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(x.User, "guess")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a vote in the name of %s: %d", x.User, resp.StatusCode)
	}
}

// A push has its bounds before anything of it is taken in.
func TestPushOptionsAreBounded(t *testing.T) {
	var in strings.Builder
	l := &lines{w: &in}
	l.line(strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/for/main\x00report-status push-options\n")
	l.flush()
	for range maxOptions + 1 {
		l.line("wip\n")
	}
	l.flush()
	if _, err := readPush(bufio.NewReader(strings.NewReader(in.String()))); err == nil || !strings.Contains(err.Error(), "options") {
		t.Errorf("a push with too many options: %v", err)
	}
}
