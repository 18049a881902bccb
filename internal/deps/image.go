package deps

import (
	"regexp"
	"strings"
)

// image is what a reference to a container image means: the repository, and the tag beside it. ok is false for what
// does not say a registry or a path, as images of Docker Hub that nobody here pushes.
func image(ref string) (r Resource, tag string, ok bool) {
	ref = strings.TrimPrefix(strings.Trim(ref, `"'`), "docker://")
	ref, _, _ = strings.Cut(ref, "@")
	name := ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		name, tag = ref[:i], ref[i+1:]
	}
	if !strings.Contains(name, "/") || strings.ContainsAny(name, " {}$"+gap) {
		return Resource{}, "", false
	}
	return Resource{Image, "", name}, tag, true
}

var (
	push   = regexp.MustCompile(`\b(?:docker|podman|nerdctl|buildah)\s+push\s+(?:-\S+\s+)*(\S+)`)
	copied = regexp.MustCompile(`\b(?:skopeo\s+copy|crane\s+(?:copy|cp))\s+(?:-\S+\s+)*\S+\s+(?:-\S+\s+)*(\S+)`)
)

// images adds the images that a task pushes, and those that it runs.
func (b *builder) images(t *Task) {
	add := func(verb Verb, ref string) {
		if r, tag, ok := image(ref); ok {
			b.add(Access{Resource: r, Verb: verb, Task: t, Weak: true, Detail: tag})
		}
	}
	run := func(v any) {
		walkImages(v, func(ref string) { add(Read, ref) })
	}
	switch b.table.name(t.Module) {
	case "command", "shell", "script":
		for _, re := range []*regexp.Regexp{push, copied} {
			for _, m := range re.FindAllStringSubmatch(words(t), -1) {
				add(Write, m[1])
			}
		}
	case "docker_image", "podman_image", "docker_image_push", "docker_image_build":
		pushed := asJSON(t.Args["push"])
		if pushed == "true" || pushed == `"yes"` || b.table.name(t.Module) == "docker_image_push" || strings.Contains(pushed, "{") {
			name := textOf(t.Args, "repository", "name")
			if tag := textOf(t.Args, "tag"); tag != "" && !strings.Contains(name, ":") {
				name += ":" + tag
			}
			add(Write, name)
		}
	case "docker_container", "podman_container":
		add(Read, textOf(t.Args, "image"))
	case "k8s":
		for _, m := range definitions(t.Args) {
			run(m["spec"])
		}
	}
	for _, o := range t.Objects {
		run(o["spec"])
	}
	for _, c := range t.Contents {
		if c.Compose != nil {
			for _, ref := range c.Compose.Images {
				add(Read, ref)
			}
		}
	}
}

// walkImages finds the images of containers below a value.
func walkImages(v any, f func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if ref, ok := inner.(string); ok && key == "image" {
				f(ref)
			}
			walkImages(inner, f)
		}
	case []any:
		for _, e := range v {
			walkImages(e, f)
		}
	}
}

// pushed is R1 for images: who runs one comes after the job that pushes it.
func (a *Analysis) pushed(m meeting) {
	if m.x.Verb != Write || m.y.Verb != Read || a.makes(m.b, m.y.Resource) {
		return
	}
	conf := Medium
	if m.x.Detail != m.y.Detail {
		conf = Low // another tag: perhaps one that was pushed long ago
	}
	a.order("R1", conf, need(m.y), m, "%s pushes the image %s, which %s runs", m.a, m.x.Name, m.b)
}
