package deps

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// line is what the callback writes.
func line(host, module, args, task string, changed bool, begin, end float64) string {
	return fmt.Sprintf(`{"host":%q,"module":%q,"args":%s,"task":%q,"path":"/x/tasks.yaml:1","changed":%v,"begin":%g,"end":%g}`+"\n",
		host, module, args, task, changed, begin, end)
}

func TestRaces(t *testing.T) {
	table, err := NewTable(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	see := func(lines ...string) []Observed {
		t.Helper()
		out, bad := Observe(table, []byte(strings.Join(lines, "")), false)
		if bad > 0 {
			t.Fatalf("%d lines could not be read", bad)
		}
		return out
	}
	write := func(host, path string, changed bool, at float64) string {
		return line(host, "ansible.builtin.copy", fmt.Sprintf(`{"content":"x","dest":%q}`, path), "write it", changed, at, at+2)
	}
	read := func(host, path string, at float64) string {
		return line(host, "ansible.builtin.slurp", fmt.Sprintf(`{"src":%q}`, path), "read it", false, at, at+2)
	}
	apt := func(host string, changed bool, at float64) string {
		return line(host, "ansible.builtin.apt", `{"name":["nginx"]}`, "install", changed, at, at+2)
	}
	for _, c := range []struct {
		name string
		jobs []Ran
		want []string
	}{
		{"one writes, one reads, nothing orders them",
			[]Ran{{Job: "zuul", Observed: see(write("h", "/srv/status/now", true, 5))}, {Job: "static", Observed: see(read("h", "/srv/status/now", 1))}},
			[]string{"file /srv/status/now on h: static read, zuul write"}},
		{"the same with an order over a third job",
			[]Ran{{Job: "zuul", Observed: see(write("h", "/srv/status/now", true, 1))}, {Job: "middle", After: []string{"zuul"}},
				{Job: "static", After: []string{"middle"}, Observed: see(read("h", "/srv/status/now", 5))}}, nil},
		{"the same with something that excludes them",
			[]Ran{{Job: "zuul", Exclusive: []string{"proxy"}, Observed: see(write("h", "/srv/status/now", true, 1))},
				{Job: "static", Exclusive: []string{"proxy"}, Observed: see(read("h", "/srv/status/now", 5))}}, nil},
		{"another host", []Ran{{Job: "a", Observed: see(write("h", "/srv/status/now", true, 1))}, {Job: "b", Observed: see(read("i", "/srv/status/now", 1))}}, nil},
		{"both read", []Ran{{Job: "a", Observed: see(read("h", "/srv/status/now", 1))}, {Job: "b", Observed: see(read("h", "/srv/status/now", 1))}}, nil},
		{"everybody's folder", []Ran{{Job: "a", Observed: see(write("h", "/tmp", true, 1))}, {Job: "b", Observed: see(write("h", "/tmp", true, 1))}}, nil},
		{"nothing changed, and it overlapped",
			[]Ran{{Job: "a", Observed: see(write("h", "/srv/status/now", false, 1))}, {Job: "b", Observed: see(read("h", "/srv/status/now", 2))}},
			[]string{"file /srv/status/now on h: a write, b read, overlapped, idle"}},
		{"two use the package manager, one installs",
			[]Ran{{Job: "a", Observed: see(apt("h", true, 1))}, {Job: "b", Observed: see(apt("h", false, 9))}},
			[]string{"the package manager of h: a write, b write"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, r := range Races(c.jobs) {
				s := fmt.Sprintf("%s: %s %s, %s %s", r.Resource, r.First.Job, r.First.Verb, r.Second.Job, r.Second.Verb)
				if r.Overlapped {
					s += ", overlapped"
				}
				if r.Idle {
					s += ", idle"
				}
				got = append(got, s)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestObserveWhatCannotBeRead(t *testing.T) {
	table, err := NewTable(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	out, bad := Observe(table, []byte("no JSON\n{}\n\n"+line("localhost:ze01", "copy", `{"dest":"/a/b/c"}`, "t", true, 1, 2)), true)
	if bad != 2 || len(out) != 0 {
		t.Errorf("%d bad lines and %v, want 2, and nothing of the job's own machine", bad, out)
	}
	if out, _ = Observe(table, []byte(line("localhost:bridge01", "copy", `{"dest":"/a/b/c"}`, "t", true, 1, 2)), false); len(out) != 1 || out[0].Host != "bridge01" {
		t.Errorf("elsewhere localhost is that machine: %v", out)
	}
}
