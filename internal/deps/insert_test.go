package deps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

const before = `# Ours.
- project:
    deploy:
      jobs:
        - a # the first
        - b:
            dependencies:
              - a   # first
        - c:
            voting: false

        - d: {voting: false}
        - e
        - f: {dependencies: [a, {name: b, soft: true}], voting: false} # in braces
        - g: {}
        - h:
            dependencies: &shared
              - a
        - i:
            dependencies: *shared # as h
            voting: false
        - j: &whole
            dependencies: [b]
        - k: *whole
        - l:
            dependencies: a # only one
        - m:
            <<: *whole
            voting: false
        - n:
            dependencies: [
              "a",  # quoted ]
              b,
            ]
        - o:
    hourly: {jobs: [a, b, "c"]}
`

// TestInsert adds a soft dependency on x to each job in turn: the lines that differ are these.
func TestInsert(t *testing.T) {
	for job, want := range map[string]string{
		"a": "-        - a # the first\n+        - a: # the first\n+            dependencies:\n+              - name: x\n+                soft: true\n",
		"b": "+              - name: x\n+                soft: true\n",
		"c": "+            dependencies:\n+              - name: x\n+                soft: true\n",
		"d": "-        - d: {voting: false}\n+        - d: {voting: false, dependencies: [{name: x, soft: true}]}\n",
		"e": "-        - e\n+        - e:\n+            dependencies:\n+              - name: x\n+                soft: true\n",
		"f": "-        - f: {dependencies: [a, {name: b, soft: true}], voting: false} # in braces\n+        - f: {dependencies: [a, {name: b, soft: true}, {name: x, soft: true}], voting: false} # in braces\n",
		"g": "-        - g: {}\n+        - g: {dependencies: [{name: x, soft: true}]}\n",
		"i": "-            dependencies: *shared # as h\n+            dependencies: # as h\n+              - a\n+              - name: x\n+                soft: true\n",
		"k": "-        - k: *whole\n+        - k:\n+            dependencies: [b, {name: x, soft: true}]\n",
		"l": "-            dependencies: a # only one\n+            dependencies: [a, {name: x, soft: true}] # only one\n",
		"m": "+            dependencies:\n+              - b\n+              - name: x\n+                soft: true\n",
		"n": "-            ]\n+            {name: x, soft: true}]\n",
		"o": "+            dependencies:\n+              - name: x\n+                soft: true\n",
		"h": "its list is the anchor &shared, which others use too",
		"j": "its entry is the anchor &whole, which others use too",
	} {
		t.Run(job, func(t *testing.T) {
			got, err := insert(before, "deploy", job, "dependencies", item{"x", true})
			if err != nil {
				if err.Error() != want {
					t.Errorf("%v, want %q", err, want)
				}
				return
			}
			if d := cmp.Diff(want, changed(before, got)); d != "" {
				t.Error(d)
			}
			adds(t, got, "deploy", job)
		})
	}
	got, err := insert(before, "hourly", "c", "dependencies", item{"x", true})
	if err != nil || !strings.Contains(got, `hourly: {jobs: [a, b, {"c": {dependencies: [{name: x, soft: true}]}}]}`) {
		t.Errorf("%v:\n%s", err, got)
	}
}

// adds checks that x is what the text says of the job now, and that other jobs say what they said.
func adds(t *testing.T, text, pipeline, job string) {
	t.Helper()
	was, is := dependencies(t, before, pipeline), dependencies(t, text, pipeline)
	was[job] = append(was[job], "x soft")
	if d := cmp.Diff(was, is); d != "" {
		t.Error(d)
	}
}

// dependencies are those of each job of a pipeline, as a reader of YAML has them.
func dependencies(t *testing.T, text, pipeline string) map[string][]string {
	t.Helper()
	var doc []struct {
		Project map[string]struct{ Jobs []yaml.Node }
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, n := range doc[0].Project[pipeline].Jobs {
		var entry map[string]struct{ Dependencies yaml.Node }
		if n.Decode(&entry) != nil {
			continue
		}
		for name, body := range entry {
			var list []yaml.Node
			if body.Dependencies.Kind == yaml.ScalarNode {
				list = []yaml.Node{body.Dependencies}
			} else if err := body.Dependencies.Decode(&list); err != nil && body.Dependencies.Kind != 0 {
				t.Fatalf("%s: %v", name, err)
			}
			for _, d := range list {
				var long struct {
					Name string
					Soft bool
				}
				if d.Decode(&long) == nil && long.Soft {
					out[name] = append(out[name], long.Name+" soft")
				} else {
					out[name] = append(out[name], d.Value)
				}
			}
		}
	}
	return out
}

// changed are the lines of two texts that are not in both, where they stand.
func changed(before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	for _, l := range a {
		out.WriteString("-" + l + "\n")
	}
	for _, l := range b {
		out.WriteString("+" + l + "\n")
	}
	return out.String()
}
