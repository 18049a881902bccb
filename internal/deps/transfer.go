package deps

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// sent is a file that a task sends from the controller, by a path outside of the repository.
func (b *builder) sent(t *Task) {
	switch b.table.name(t.Module) {
	case "fetch":
		b.fetched(t)
		return
	case "copy", "template", "unarchive", "script", "include_vars":
	default:
		return
	}
	if remote := fmt.Sprint(t.Args["remote_src"]); remote == "true" || remote == "yes" || len(t.Sources) > 0 {
		return
	}
	host := b.place(t, "localhost")
	for _, src := range slices.Concat(lookup(t.Args, "src"), lookup(t.Args, "file")) {
		if strings.HasPrefix(src, "/") && host != "" {
			b.add(Access{Resource: Resource{File, host, src}, Verb: Read, Task: t})
		}
	}
}

// synchronize copies a tree from where it is delegated to, else from the controller, to the hosts of the task; or
// back, where it pulls.
func (b *builder) synchronize(t *Task, from []string) {
	if t.Delegate == nil {
		from = nil
		if h := b.place(t, "localhost"); h != "" {
			from = []string{h}
		}
	}
	var to []string
	for _, n := range t.Hosts {
		if h := b.place(t, n); h != "" {
			to = append(to, h)
		}
	}
	if mode, _ := t.Args["mode"].(string); mode == "pull" {
		from, to = to, from
	}
	for _, h := range from {
		for _, src := range lookup(t.Args, "src") {
			if len(t.Sources) == 0 {
				b.add(Access{Resource: Resource{File, h, src}, Verb: Read, Task: t, Weak: true})
			}
		}
	}
	for _, h := range to {
		for _, dest := range lookup(t.Args, "dest") {
			b.add(Access{Resource: Resource{File, h, dest}, Verb: Tree, Task: t})
		}
	}
}

// fetched is a file that a task brings to the controller.
func (b *builder) fetched(t *Task) {
	host := b.place(t, "localhost")
	if host == "" {
		return
	}
	for _, dest := range lookup(t.Args, "dest") {
		verb := Fill // below it, by the name of the host
		if flat := fmt.Sprint(t.Args["flat"]); flat == "true" || flat == "yes" {
			verb = Write
			if src := lookup(t.Args, "src"); strings.HasSuffix(dest, "/") && len(src) == 1 {
				dest += path.Base(src[0])
			}
		}
		b.add(Access{Resource: Resource{File, host, dest}, Verb: verb, Task: t})
	}
}
