package deps

import (
	"slices"
	"strings"
	"testing"
)

// writer and reader are tasks on a host.
func writer(host, path string) Task {
	return Task{Name: "write " + path, Module: "copy", Args: map[string]any{"dest": path, "content": "x"}, Hosts: []string{host}, At: Place{File: "w.yaml", Line: 1}}
}

func reader(host, path string) Task {
	return Task{Name: "read " + path, Module: "slurp", Args: map[string]any{"src": path}, Hosts: []string{host}, At: Place{File: "r.yaml", Line: 1}}
}

func repo(jobs ...Job) *Repo {
	r := &Repo{Jobs: jobs, Hosts: map[string][]string{"h": {"all"}, "g": {"all"}}, Settings: Settings{Names: map[string]string{}}}
	p := Pipeline{Name: "deploy"}
	for _, j := range jobs {
		p.Members = append(p.Members, Member{Job: j.Name, At: Place{File: "zuul.yaml", Line: len(p.Members) + 1}})
	}
	r.Pipelines = []Pipeline{p}
	return r
}

func analysed(t *testing.T, r *Repo) *Analysis {
	t.Helper()
	a, err := Analyse(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACycleIsNamedWithItsWeakestEdge(t *testing.T) {
	maybe := reader("h", "/etc/b/file")
	maybe.Guarded = true
	r := repo(
		Job{Name: "a", Tasks: []Task{writer("h", "/etc/a/file"), maybe}},
		Job{Name: "b", Tasks: []Task{reader("h", "/etc/a/file"), writer("h", "/etc/b/file")}},
	)
	out := analysed(t, r).Audit(AuditOptions{})
	i := slices.IndexFunc(out.Findings, func(f Finding) bool { return f.Rule == "L8" })
	if i < 0 {
		t.Fatalf("no cycle among %v", out.Findings)
	}
	f := out.Findings[i]
	if !strings.Contains(f.Text, "a, then b, then a") || !strings.Contains(f.Text, "the weakest edge is b before a") {
		t.Error(f.Text)
	}
}

func TestWhatIsNoEdge(t *testing.T) {
	link := func(state string) Task {
		return Task{Module: "file", Args: map[string]any{"path": "/etc/a/file", "state": state}, Hosts: []string{"h"}}
	}
	unit := writer("h", "/etc/systemd/system/web.service")
	folder := func(name string) Task {
		return Task{Module: "copy", Args: map[string]any{"dest": "/etc/cron.d", "src": name}, Sources: []string{"files/" + name}, Hosts: []string{"h"}}
	}
	other := writer("h", "/etc/a/file")
	other.Args, other.At = map[string]any{"dest": "/etc/a/file", "content": "y"}, Place{File: "w.yaml", Line: 9}
	cloud := func(module, name, more, value string) Task {
		return Task{Module: "openstack.cloud." + module, Args: map[string]any{"cloud": "prod", "name": name, more: value}, Hosts: []string{"localhost"}}
	}
	login := func(project string, t Task) Task {
		delete(t.Args, "cloud")
		t.Args["auth"] = map[string]any{"auth_url": "https://keystone.example.org:5000/v3", "project_name": project}
		return t
	}
	mount := func(opts string) Task {
		return Task{Module: "mount", Args: map[string]any{"src": "nfs@.x=/", "path": "/x", "opts": opts, "state": "mounted"}, Hosts: []string{"h"}}
	}
	for name, test := range map[string]struct {
		a, b []Task
		want string
	}{
		"an image of which a server is made":         {[]Task{cloud("image", "base", "", "")}, []Task{cloud("server", "s", "image", "base")}, "order R1 high"},
		"a server that is called as a group is":      {[]Task{cloud("security_group", "db", "", "")}, []Task{cloud("server", "db", "image", "base")}, ""},
		"one cloud by its address":                   {[]Task{login("p", cloud("network", "n", "", ""))}, []Task{login("p", cloud("server", "s", "network", "n"))}, "order R1 high"},
		"two projects of one cloud":                  {[]Task{login("p", cloud("network", "n", "", ""))}, []Task{login("q", cloud("server", "s", "network", "n"))}, ""},
		"a host that another makes":                  {[]Task{cloud("server", "h", "", "")}, []Task{writer("h", "/etc/a/file")}, "order R9 medium"},
		"another host than is made":                  {[]Task{cloud("server", "h", "", "")}, []Task{writer("g", "/etc/a/file")}, ""},
		"a host that is removed":                     {[]Task{cloud("server", "h", "state", "absent")}, []Task{writer("h", "/etc/a/file")}, ""},
		"a secret with which is mounted":             {[]Task{writer("h", "/etc/a/file")}, []Task{mount("name=x,secretfile=/etc/a/file,_netdev")}, "order R1 high"},
		"a mount without a secret":                   {[]Task{writer("h", "/etc/a/file")}, []Task{mount("upperdir=/etc/a/file")}, ""},
		"a zone with its dot":                        {[]Task{{Module: "openstack.cloud.dns_zone", Args: map[string]any{"name": "x.org."}, Hosts: []string{"localhost"}}}, []Task{{Module: "command", Args: map[string]any{"_raw_params": "certbot certonly -d www.x.org"}, Hosts: []string{"h"}}}, "order R15 medium"},
		"a file that is read":                        {[]Task{writer("h", "/etc/a/file")}, []Task{reader("h", "/etc/a/file")}, "order R1 high"},
		"the same path on another host":              {[]Task{writer("h", "/etc/a/file")}, []Task{reader("g", "/etc/a/file")}, ""},
		"who reads writes it too":                    {[]Task{writer("h", "/etc/a/file")}, []Task{writer("h", "/etc/a/file"), reader("h", "/etc/a/file")}, "mutex R4 low"},
		"the same into the same file":                {[]Task{writer("h", "/etc/a/file")}, []Task{writer("h", "/etc/a/file")}, "mutex R4 low"},
		"something else into the same file":          {[]Task{writer("h", "/etc/a/file")}, []Task{other}, "mutex R4 high"},
		"both remove it":                             {[]Task{link("absent")}, []Task{link("absent")}, "mutex R4 low"},
		"a removed file is not read":                 {[]Task{link("absent")}, []Task{reader("h", "/etc/a/file")}, ""},
		"two files in a folder that is everybody's":  {[]Task{folder("a")}, []Task{folder("b")}, ""},
		"one name in a folder that is everybody's":   {[]Task{folder("a")}, []Task{folder("a")}, "mutex R4 low"},
		"a unit that is restarted":                   {[]Task{unit}, []Task{{Module: "systemd", Args: map[string]any{"name": "web", "state": "restarted"}, Hosts: []string{"h"}}}, "order R3 high"},
		"another unit":                               {[]Task{unit}, []Task{{Module: "systemd", Args: map[string]any{"name": "db", "state": "restarted"}, Hosts: []string{"h"}}}, ""},
		"a host that is not known":                   {[]Task{writer("h", "/etc/a/file")}, []Task{{Module: "slurp", Args: map[string]any{"src": "/etc/a/file"}, Hosts: []string{"h"}, Delegate: map[string]any{"unknown": "x"}}}, ""},
		"localhost is the executor's own":            {[]Task{writer("localhost", "/etc/a/file")}, []Task{reader("localhost", "/etc/a/file")}, ""},
		"accounts are often harmless":                {[]Task{{Module: "user", Args: map[string]any{"name": "x"}, Hosts: []string{"h"}}}, []Task{{Module: "user", Args: map[string]any{"name": "x", "shell": "/bin/sh"}, Hosts: []string{"h"}}}, "mutex R7 low"},
		"packages that wait by themselves":           {[]Task{{Module: "apt", Args: map[string]any{"name": "x", "lock_timeout": 60.0}, Hosts: []string{"h"}}}, []Task{{Module: "dnf", Args: map[string]any{"name": "y", "lock_timeout": 60.0}, Hosts: []string{"h"}}}, "mutex R5 low"},
		"a program that another brings":              {[]Task{writer("h", "/opt/tool/run")}, []Task{{Module: "command", Args: map[string]any{"_raw_params": "/opt/tool/run --now"}, Hosts: []string{"h"}}}, "order R1 high"},
		"a file that a command removes is not read":  {[]Task{writer("h", "/opt/tool/run")}, []Task{{Module: "command", Args: map[string]any{"_raw_params": "rm -f /opt/tool/run"}, Hosts: []string{"h"}}}, ""},
		"a module of somebody else of the same name": {[]Task{unit}, []Task{{Module: "acme.tools.systemd", Args: map[string]any{"name": "web", "state": "restarted"}, Hosts: []string{"h"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := analysed(t, repo(Job{Name: "a", Tasks: test.a}, Job{Name: "b", Tasks: test.b}))
			got := ""
			if len(a.Edges) > 0 {
				e := a.Edges[0]
				got = string(e.Kind) + " " + e.Rule + " " + string(e.Confidence)
			}
			if got != test.want {
				t.Errorf("%q, want %q: %v", got, test.want, a.Edges)
			}
		})
	}
}

func TestUnknownIsNotIndependent(t *testing.T) {
	a := analysed(t, repo(Job{Name: "a", Tasks: []Task{writer("h", "/etc/a/file")}}, Job{Name: "b", Tasks: []Task{{Module: "own_thing", Hosts: []string{"h"}, At: Place{File: "b.yaml", Line: 3}}}}))
	if p := a.Count([]string{"deploy"}); p.All != 1 || p.Unknown != 1 {
		t.Errorf("%+v", p)
	}
	if !slices.ContainsFunc(a.Unknown, func(p Problem) bool { return p.Job == "b" && strings.Contains(p.Text, "own_thing") }) {
		t.Errorf("%v", a.Unknown)
	}
}

func TestWaivers(t *testing.T) {
	r := repo(Job{Name: "x-a", Tasks: []Task{writer("h", "/etc/a/file")}}, Job{Name: "x-b", Tasks: []Task{reader("h", "/etc/a/file")}})
	var err error
	r.Settings, err = ParseSettings("gozer.yaml", []byte("deps:\n  - waive: {rule: R1, jobs: [a, b]}\n    reason: it is there anyway\n    until: 2027-06-30\n"))
	if err != nil {
		t.Fatal(err)
	}
	a := analysed(t, r)
	if out := a.Audit(AuditOptions{Today: "2027-06-30"}); len(out.Findings) != 0 || len(out.Waived) != 1 || out.Waived[0].Waived != "it is there anyway" {
		t.Errorf("on its last day: %+v", out)
	}
	if out := a.Audit(AuditOptions{Today: "2027-07-01"}); len(out.Findings) != 1 {
		t.Errorf("the day after: %+v", out)
	}
}

func TestSettingsAreTakenAtTheirWord(t *testing.T) {
	for text, want := range map[string]string{
		"deps:\n  - waive: {rule: R1}\n": "gozer.yaml:2: a waiver needs a reason",
		"deps:\n  - jobs: [a]\n":         "field jobs not found",
		"deps:\n  - reason: x\n":         "an entry of deps is one of",
		"deps:\n  - module: m\n    access: [{verb: eats, kind: file, name: [path]}]\n":     "the verb \"eats\" is not known",
		"deps:\n  - module: m\n    access: [{verb: read, kind: folder, name: [path]}]\n":   "the kind \"folder\" is not known",
		"deps:\n  - command: '('\n    access: [{verb: read, kind: file, name: [=/etc]}]\n": "missing closing )",
	} {
		s, err := ParseSettings("gozer.yaml", []byte(text))
		if err == nil {
			_, err = NewTable(s)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "gozer.yaml:2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSoftSetupIsOneFinding(t *testing.T) {
	r := repo(Job{Name: "bootstrap", Tasks: []Task{writer("h", "/etc/0")}}, Job{Name: "a", Tasks: []Task{writer("h", "/etc/1")}}, Job{Name: "b", Tasks: []Task{writer("h", "/etc/2")}}, Job{Name: "c", Tasks: []Task{writer("h", "/etc/3")}})
	for i := range r.Pipelines[0].Members[1:] {
		r.Pipelines[0].Members[i+1].After = []Dependency{{Job: "bootstrap", Soft: true}}
	}
	var found []Finding
	for _, f := range analysed(t, r).Audit(AuditOptions{}).Findings {
		if f.Rule == "L5" {
			found = append(found, f)
		}
	}
	if len(found) != 1 || !slices.Equal(found[0].Jobs, []string{"bootstrap", "a", "b", "c"}) || len(found[0].Also) != 2 || !strings.HasPrefix(found[0].Text, "3 jobs depend only softly") {
		t.Errorf("%+v", found)
	}
}
