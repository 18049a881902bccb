package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options are what parsing depends on beside the text.
type Options struct {
	// Connections maps the names of connections to their drivers (gerrit, github, gitlab, gitea,
	// pagure, git, local, smtp, mqtt, elasticsearch). The built-in timer and zuul need not be listed.
	Connections map[string]string
}

// driver finds the driver of a connection.
func (o *Options) driver(connection string) (string, bool) {
	if d, ok := o.Connections[connection]; ok {
		return d, true
	}
	if connection == "timer" || connection == "zuul" {
		return connection, true
	}
	return "", false
}

// Key is the hash by which a caller may keep what ParseContent returns.
func Key(data []byte, opts Options) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(opts.Connections)) {
		fmt.Fprintf(h, "%s=%s\n", name, opts.Connections[name])
	}
	h.Write([]byte{0})
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// File is the content of one file of configuration at its place. It is never changed.
type File struct {
	Source Source
	*Content
}

// Parse reads the file at src. It never fails: what is wrong is told by Problems, and the rest is
// there.
func Parse(src Source, data []byte, opts Options) *File {
	return ParseContent(data, opts).At(src)
}

// At is the content as the file at src.
func (c *Content) At(src Source) *File { return &File{Source: src, Content: c} }

// Problems are what was found wrong with the text itself, in its order.
func (f *File) Problems() []Problem { return f.in(f.problems) }

// Remarks are warnings about what Zuul takes without a word. They are for whoever proposes or checks a file, and no
// part of what is wrong with a tenant.
func (f *File) Remarks() []Problem { return f.in(f.remarks) }

func (f *File) in(list []Problem) []Problem {
	out := make([]Problem, len(list))
	for i, p := range list {
		out[i] = p.In(f.Source)
	}
	return out
}

// Problem makes a problem at a place of f, for findings that need more than one file.
func (f *File) Problem(object, declared string, at Span, name, short string) Problem {
	p := Problem{Severity: Error, Name: name, Line: at.Line, EndLine: at.EndLine, Column: at.Column,
		Object: object, Declared: declared, Short: short, Snippet: snippet(f.lines, at)}
	return p.In(f.Source)
}

// ParseContent reads a text.
func ParseContent(data []byte, opts Options) *Content {
	c := &Content{Hash: Key(data, opts), lines: strings.Split(string(data), "\n")}
	r := &reader{opts: &opts, lines: c.lines}
	root, errs := loadYAML(data)
	for _, e := range errs {
		r.at, r.object = e.span, e.object
		r.fail(NameSyntax, "%s", e.text)
	}
	if root != nil {
		r.document(c, root)
	}
	c.problems, c.remarks = r.finish(), r.remarks
	return c
}

// objectKinds are the kinds of declarations with their readers.
var objectKinds = map[string]func(r *reader, c *Content, v *node){
	"pragma":           func(r *reader, c *Content, v *node) { r.pragma(c, v) },
	"pipeline":         func(r *reader, c *Content, v *node) { keep(r, &c.Pipelines, v, (*reader).pipeline) },
	"job":              func(r *reader, c *Content, v *node) { keep(r, &c.Jobs, v, (*reader).job) },
	"project":          func(r *reader, c *Content, v *node) { keep(r, &c.Projects, v, (*reader).project) },
	"project-template": func(r *reader, c *Content, v *node) { keep(r, &c.Templates, v, (*reader).template) },
	"queue":            func(r *reader, c *Content, v *node) { keep(r, &c.Queues, v, (*reader).queue) },
	"nodeset":          func(r *reader, c *Content, v *node) { keep(r, &c.Nodesets, v, (*reader).namedNodeset) },
	"secret":           func(r *reader, c *Content, v *node) { keep(r, &c.Secrets, v, (*reader).secret) },
	"semaphore":        func(r *reader, c *Content, v *node) { keep(r, &c.Semaphores, v, (*reader).semaphore) },
	"image":            func(r *reader, c *Content, v *node) { keep(r, &c.Images, v, (*reader).image) },
	"flavor":           func(r *reader, c *Content, v *node) { keep(r, &c.Flavors, v, (*reader).flavor) },
	"label":            func(r *reader, c *Content, v *node) { keep(r, &c.Labels, v, (*reader).label) },
	"section":          func(r *reader, c *Content, v *node) { keep(r, &c.Sections, v, (*reader).section) },
	"provider":         func(r *reader, c *Content, v *node) { keep(r, &c.Providers, v, (*reader).provider) },
}

// Kinds are the names of all kinds of declarations, sorted.
func Kinds() []string { return kindNames }

var kindNames = slices.Sorted(func(yield func(string) bool) {
	for k := range objectKinds {
		if !yield(k) {
			return
		}
	}
})

// keep appends what read makes of v, unless it has errors: a bad object never takes part, and never
// hides the others.
func keep[T any](r *reader, list *[]*T, v *node, read func(*reader, *node) *T) {
	errs := r.errors
	if o := read(r, v); r.errors == errs {
		*list = append(*list, o)
	}
}

func (r *reader) document(c *Content, root *node) {
	if root.kind != kindList {
		r.at = root.span
		r.fail(NameSyntax, "the configuration is not a list:\n\n%s", dump(root))
		return
	}
	for _, item := range root.list {
		r.item(c, item)
	}
}

func (r *reader) item(c *Content, item *node) {
	r.object, r.declared, r.at = "", "", item.span
	switch {
	case item.kind != kindMap:
		r.fail(NameSyntax, "an item of the configuration is not a dictionary with one key:\n\n%s", dump(item))
		return
	case len(item.pairs) != 1:
		r.fail(NameSyntax, "an item of the configuration has more than one key; are the attributes indented too little?\n\n%s", dump(item))
		return
	}
	p := item.pairs[0]
	read, ok := objectKinds[p.name]
	if !ok {
		r.hint(Suggest(p.name, kindNames))
		r.fail(NameSyntax, "the object %q is not recognized:\n\n%s", p.name, dump(item))
		return
	}
	r.object = p.name
	if p.name == "pipeline" {
		c.PipelineSpans = append(c.PipelineSpans, item.span)
	}
	if p.val.kind != kindMap {
		r.fail(NameSyntax, "the value of %q is not a dictionary:\n\n%s", p.name, dump(item))
		return
	}
	if n := p.val.child("name"); n != nil {
		r.declared = n.text
	}
	p.val.span = Span{item.span.Line, item.span.EndLine, item.span.Column}
	read(r, c, p.val)
}
