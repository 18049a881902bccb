package deps

import (
	"cmp"
	"path"
	"slices"
)

// tree is R2 (a read below a directory that the other fills, or makes) and R4b (a write there).
func (a *Analysis) tree(m meeting) {
	if a.sharedWrapper(m) {
		return
	}
	x, y := m.x, m.y
	switch {
	case y.Verb == Read && !a.also(m.b, y.Resource):
		conf := certain(High, x, y)
		switch a.table.name(x.Task.Module) {
		case "unarchive", "pip", "fetch", "get_url":
			conf = certain(Medium, x, y) // which files it brings is not said
		}
		verb := "fills"
		if slices.ContainsFunc(a.Jobs, func(j Job) bool { return j.Name != m.a && a.written[j.Name][y.Resource] }) {
			conf = Low // what is read is known to come from somebody else
		}
		if x.Verb == Make {
			conf, verb = Low, "makes"
			if y.Named && a.fills(m.a, x.Resource) {
				conf = Medium
			}
		}
		if x.Verb == Make && x.Name == y.Name {
			return // that it is there is not what it is read for
		}
		m.y.Resource.Name = x.Name
		text := "reads"
		if y.Named {
			text = "names"
		}
		if x.Name == y.Name {
			a.order(cmp.Or(y.Rule, "R2"), conf, need(y), m, "%s %s %s, which %s %s", m.a, verb, x.Resource, m.b, text)
			return
		}
		a.order(cmp.Or(y.Rule, "R2"), conf, need(y), m, "%s %s %s, below which %s %s %s", m.a, verb, x.Resource, m.b, text, y.Name)
	case x.Verb == Make && writes(y.Verb) && path.Dir(y.Name) == x.Name && a.lays(y.Task) && !absent(y.Task) && !a.also(m.b, y.Resource.in(x.Name)) && a.makers(x.Resource) == 1:
		// Modules that lay files down do not make the directory.
		a.order("R2", certain(Medium, x, y), need(y), m, "%s makes the directory %s on %s, in which %s writes %s", m.a, x.Name, x.Host, m.b, path.Base(y.Name))
	case x.Verb == Tree && writes(y.Verb) && !a.written[m.b][x.Resource]:
		a.mutex("R4b", Medium, Torn, m, "%s manages all of %s, below which %s writes %s", m.a, x.Resource, m.b, y.Name)
	}
}

// lays reports whether a task lays down a file in a directory that must be there.
func (a *Analysis) lays(t *Task) bool {
	switch a.table.name(t.Module) {
	case "copy", "template", "get_url", "assemble", "lineinfile", "blockinfile", "x509_certificate", "openssl_privatekey":
		return true
	}
	return false
}

// in is a file of the same host.
func (r Resource) in(name string) Resource { return Resource{r.Kind, r.Host, name} }

// bothManage is R4 for trees: two jobs that each manage all below the same directory.
func (a *Analysis) bothManage(m meeting) {
	if a.sharedWrapper(m) || m.a > m.b || m.x.Verb != Tree || m.y.Verb != Tree {
		return
	}
	conf, text := certain(Medium, m.x, m.y), "both manage everything below %s on %s"
	if same(m.x.Task, m.y.Task) {
		conf, text = Low, text+", in the same way"
	}
	a.mutex("R4", conf, Torn, m, text, m.x.Name, m.x.Host)
}

// folder is R2 the other way round: one writes below a folder that the other reads whole, or mounts.
func (a *Analysis) folder(m meeting) {
	x, y := m.x, m.y
	module := a.table.name(y.Task.Module)
	whole := module == "synchronize" || module == "assemble" || y.Named && module != "command" && module != "shell"
	if y.Verb != Read || !whole || absent(x.Task) || a.common(x) || a.also(m.b, y.Resource) || a.also(m.b, x.Resource) {
		return
	}
	a.order("R2", certain(Medium, x, y), need(y), m, "%s writes %s, which is below what %s reads: %s", m.a, x.Resource, m.b, y.Name)
}

// fills reports whether a job lays something below a directory that it makes, as far as can be seen:
// nothing that other jobs make there too.
func (a *Analysis) fills(job string, dir Resource) bool {
	return !slices.ContainsFunc(a.Jobs, func(j Job) bool { return j.Name != job && a.written[j.Name][dir] })
}

// also reports whether the job writes the resource itself, or manages a directory above it: then what it
// reads is not surely the other's.
func (a *Analysis) also(job string, r Resource) bool {
	mine := a.written[job]
	if mine[r] {
		return true
	}
	if r.Kind != File {
		return false
	}
	for dir := path.Dir(r.Name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if r := (Resource{File, r.Host, dir}); mine[r] && !shared(dir) {
			return true
		}
	}
	return false
}
