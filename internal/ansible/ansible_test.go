package ansible

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

func TestYAMLReadsBackAsItWas(t *testing.T) {
	in := map[string]any{"plain": "text", "yes": "no", "time": "12:30", "tab\there": "a\x00b\x7f\u0085 é 😀 \u2028", "n": 1.5, "big": json.Number("12345678901234567890"),
		"list": []any{true, nil, map[string]any{}, []any{}}, "template": "{{ x }}", "deep": map[string]any{"a": map[string]any{"b": map[string]any{"c": map[string]any{"d": "e"}}}}}
	text, err := YAML(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	in["big"] = uint64(12345678901234567890)
	if d := cmp.Diff(in, out); d != "" {
		t.Errorf("%s\n%s", d, text)
	}
	for _, c := range text {
		if c > 126 || c < 32 && c != '\n' {
			t.Fatalf("byte %d in %q", c, text)
		}
	}
	text, err = YAML(map[string]any{"a": AllUnsafe([]any{"{{ x }}", 1})})
	if err != nil || !strings.Contains(string(text), `[!unsafe "{{ x }}", 1]`) {
		t.Errorf("%s %v", text, err)
	}
}

func TestPrecedenceOfVariables(t *testing.T) {
	inv := &Inventory{
		Hosts:  []Host{{Name: "n1", Vars: map[string]any{"ansible_host": "10.0.0.1"}, Defaults: map[string]any{"ansible_python_interpreter": "auto"}}, {Name: "n2"}},
		Groups: map[string][]string{"b": {"n1"}, "a": {"n1"}},
		Vars:   map[string]any{"v": "job", "only": "job", "d": map[string]any{"x": 1}},
		GroupVars: map[string]map[string]any{"all": {"v": "all"}, "a": {"v": "a", "d": map[string]any{"y": 1}, "ansible_host": "evil"},
			"b": {"v": "b", "ansible_python_interpreter": "/usr/bin/python3"}},
		HostVars: map[string]map[string]any{"n1": {"h": "host"}},
	}
	for host, want := range map[string]map[string]any{
		"n1":      {"v": "b", "only": "job", "d": map[string]any{"y": 1}, "h": "host", "ansible_host": "evil", "ansible_python_interpreter": "/usr/bin/python3"},
		"n2":      {"v": "all", "only": "job", "d": map[string]any{"x": 1}},
		Localhost: {"v": "all", "only": "job", "d": map[string]any{"x": 1}},
	} {
		if d := cmp.Diff(want, inv.JobVars(host)); d != "" {
			t.Errorf("%s: %s", host, d)
		}
	}
	text, err := inv.Write(Render{Without: []string{"only"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ansible_host": "10.0.0.1"`, `"ansible_python_interpreter": "/usr/bin/python3"`, `"zuul_unreachable"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), `"only": "job"`) {
		t.Errorf("a name that a secret has is still there:\n%s", text)
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		code   int
		why    Outcome
		hosts  []string
		output string
		want   Outcome
	}{
		{code: 0, why: Normal, want: Normal}, {code: 2, why: Normal, want: Normal}, {code: 4, why: Normal, want: Normal},
		{code: 3, why: Normal, want: Unreachable}, {code: 4, why: Normal, hosts: []string{"a"}, want: Unreachable},
		{code: 2, why: Normal, output: "x\nFATAL ERROR DURING FILE TRANSFER: y", want: Unreachable},
		{code: -9, why: Normal, want: Aborted}, {code: -9, why: TimedOut, want: TimedOut},
	} {
		r := Result{Unreachable: c.hosts, Output: c.output}
		r.classify(c.code, c.why)
		if r.Outcome != c.want {
			t.Errorf("%+v: %s", c, r.Outcome)
		}
	}
}

func TestEventsOfAnyForm(t *testing.T) {
	in := `{"e":"line","h":"n1","x":"hello"}
no json
{"e":""}
{"e":"result","h":"n1","st":"failed","d":"{\n  \"msg\": \"non-zero return code\",\n  \"rc\": 3\n}","why":"non-zero return code"}
{"e":"result","h":"n1","st":"failed","x":"Traceback:\n  x","broken":true}
{"e":"result","h":"n1 -> 10.0.0.1","st":"ignored","x":"Item: a Result: 1"}
{"e":"result","h":"n1","st":"ok","x":"Runtime: 0:00:00.003"}
{"e":"result","h":"n1","st":"ok","x":"{\n  \"a\": 1\n}"}
{"e":"result","h":"n1","st":"changed"}
{"e":"result","h":"n1","st":"said","x":"# Job\n\nunit"}
{"e":"result","h":"n1","st":"hidden","x":"Output suppressed because no_log was given"}
{"e":"text","x":"the end"}`
	var kinds []string
	readEvents(strings.NewReader(in), func(e *Event) { kinds = append(kinds, e.Kind+"="+strings.Join(e.Lines(), "/")) })
	want := []string{"line=n1 | hello", `result=n1 | ERROR/n1 | {/n1 |   "msg": "non-zero return code",/n1 |   "rc": 3/n1 | }`,
		"result=n1 | MODULE FAILURE:/n1 | Traceback:/n1 |   x", "result=n1 -> 10.0.0.1 | ERROR: Item: a Result: 1/n1 -> 10.0.0.1 | ERROR: Ignoring Errors",
		"result=n1 | ok: Runtime: 0:00:00.003", `result=n1 | ok:/n1 | {/n1 |   "a": 1/n1 | }`, "result=n1 | changed", "result=# Job//unit",
		"result=n1 | Output suppressed because no_log was given", "text=the end"}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Error(d)
	}
}

func TestUnknownVersion(t *testing.T) {
	if _, err := Install(t.Context(), t.TempDir(), "7", nil, nil); err == nil || !strings.Contains(err.Error(), `"7" is not supported`) {
		t.Errorf("%v", err)
	}
	if _, err := Find(t.TempDir(), "9"); err == nil || !strings.Contains(err.Error(), "gozer ansible install") {
		t.Errorf("%v", err)
	}
}

// The Python that Gozer brings compiles, and is laid out once however often it is asked for.
func TestPlugins(t *testing.T) {
	dir := t.TempDir()
	a, err := Plugins(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Plugins(dir)
	if err != nil || a != b {
		t.Errorf("%s and %s: %v", a, b, err)
	}
	files, err := filepath.Glob(filepath.Join(a, "*", "*.py"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "python3", "-c", "import ast, sys; ast.parse(sys.stdin.read())")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}
