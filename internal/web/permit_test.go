package web_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/web"
)

// A tenant with rules for readers shows nothing of itself, by whatever address, to whom they do not let in; what belongs
// to the API as a whole has rules of its own.
func TestReadersAreThoseOfTheRules(t *testing.T) {
	w := newWorld(t, func(c *web.Config) {
		var err error
		c.Auth, err = auth.New(auth.Config{Authenticators: []auth.Authenticator{{Name: "sso", Secret: "s", Issuer: "i", Audience: "gozer"}},
			Rules: func(_ context.Context, tenant string) (auth.Rules, error) {
				if tenant != "t" {
					return auth.Rules{}, nil
				}
				return auth.Rules{Named: []auth.Rule{{Name: "staff", Conditions: []map[string]any{{"zuul_uid": "ann"}}}}, Access: []string{"staff"}}, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
	})
	w.pipe(gate(time.Now()))
	open, err := w.store.OpenPipeline(t.Context(), store.Fence{}, "open", "gate")
	if err != nil {
		t.Fatal(err)
	}
	open.State = state("gate", pipeline.Dependent, "")
	open.Configured()
	if err := open.Commit(t.Context(), nil, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	w.wait("the tenants", func() bool {
		return w.get("/api/tenant/t/status", nil) == 401 && w.get("/api/tenant/open/status", nil) == 200
	})
	log, err := w.logs.Create("b-image", nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Line("the secret plan")
	if err := log.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := func(who string) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "gozer", "sub": who, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte("s"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, path := range []string{"/api/tenant/t/status", "/api/tenant/t/events", "/api/tenant/t/builds", "/api/tenant/t/nodes", "/api/tenant/t/key/org/app.pub",
		"/api/tenant/t/project/org/app", "/api/build/b-image/log", "/api/build/b-image/log.txt", "/api/build/b-image/log/search?q=plan",
		"/api/build/b-image/file/job-output.json", "/api/build/of-whomever/log"} {
		for who, want := range map[string]int{"": 401, "eve": 403} {
			bearer := ""
			if who != "" {
				bearer = token(who)
			}
			if code, body := w.send("GET", path, bearer, ""); code != want {
				t.Errorf("%s for %q: %d %.100s, want %d", path, who, code, body, want)
			}
		}
	}
	for _, path := range []string{"/api/tenant/t/status", "/api/build/b-image/log.txt"} {
		if code, body := w.send("GET", path, token("ann"), ""); code != 200 {
			t.Errorf("%s for ann: %d %.100s", path, code, body)
		}
	}
	if code, _ := w.send("GET", "/api/tenants", "", ""); code != 200 {
		t.Errorf("the list of tenants, which nobody closed: %d", code)
	}
	c, _, err := websocket.Dial(t.Context(), strings.Replace(w.http.URL, "http", "ws", 1)+"/api/tenant/open/console-stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(`{"uuid":"b-image"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4011 {
		t.Errorf("the console of an open tenant tells of a closed one: %q, %v", text, err)
	}
}

func TestNumbersThatAreTooLarge(t *testing.T) {
	w := newWorld(t)
	w.pipe(gate(time.Now()))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	const most = "9223372036854775807"
	for _, path := range []string{"/api/tenant/t/config-errors?skip=1&limit=" + most, "/api/tenant/t/builds?skip=" + most + "&limit=" + most,
		"/api/tenant/t/buildsets?idx_min=" + most + "&limit=" + most, "/api/build/none/log?from=" + most + "&n=" + most} {
		if code := w.get(path, nil); code != 200 && code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}
