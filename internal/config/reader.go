package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
)

// reader reads declarations from values and collects what is wrong with them.
type reader struct {
	opts     *Options
	lines    []string
	problems []Problem
	// remarks are warnings that the file may well have and load.
	remarks []Problem
	// errors counts the problems that make the present object unusable.
	errors int
	// untold counts the problems beyond maxProblems.
	untold int
	// object and declared name the present declaration; at is the place to blame.
	object, declared string
	at               Span
	nextHint         string
}

func (r *reader) fail(name, format string, args ...any) {
	r.errors++
	r.report(Error, name, fmt.Sprintf(format, args...))
}

func (r *reader) warn(name, format string, args ...any) {
	r.report(Warning, name, fmt.Sprintf(format, args...))
}

// remark tells of what Zuul takes without a word, although nobody can want it.
func (r *reader) remark(name, format string, args ...any) {
	if len(r.remarks) < maxProblems {
		r.remarks = append(r.remarks, r.problem(Warning, name, fmt.Sprintf(format, args...)))
	}
	r.nextHint = ""
}

// hint is added to the problem that is reported next.
func (r *reader) hint(s string) { r.nextHint = s }

// maxProblems bounds how many problems of one file are told: a file that is something else altogether would have
// hundreds of thousands.
const maxProblems = 1000

func (r *reader) full() bool { return len(r.problems) >= maxProblems }

func (r *reader) report(sev Severity, name, short string) {
	if r.full() {
		r.untold++
		r.nextHint = ""
		return
	}
	r.problems = append(r.problems, r.problem(sev, name, short))
	r.nextHint = ""
}

func (r *reader) problem(sev Severity, name, short string) Problem {
	return Problem{Severity: sev, Name: name, Object: r.object, Declared: r.declared,
		Line: r.at.Line, EndLine: r.at.EndLine, Column: r.at.Column,
		Short: short, Hint: r.nextHint, Snippet: snippet(r.lines, r.at)}
}

// finish gives the problems in the order of the file, and tells of those that were not told.
func (r *reader) finish() []Problem {
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if r.untold > 0 {
		r.problems = append(r.problems, Problem{Severity: Error, Name: NameSyntax,
			Short: fmt.Sprintf("there are %d further problems in this file; the first %d are told", r.untold, maxProblems)})
	}
	return r.problems
}

// attributes tells how each attribute of a T is read.
type attributes[T any] map[string]func(r *reader, t *T, v *node)

// read fills t from the dictionary m, in the order of the file. Attributes that no table knows go to
// other, where there is one.
func read[T any](r *reader, t *T, m *node, table attributes[T], other func(p pair)) {
	if m.kind != kindMap {
		r.expected("a dictionary", m)
		return
	}
	outer := r.at
	for _, p := range m.pairs {
		r.at = p.span()
		if f, ok := table[p.name]; ok {
			f(r, t, p.val)
			continue
		}
		if other != nil {
			other(p)
			continue
		}
		if !r.full() {
			r.hint(Suggest(p.name, slices.Collect(maps.Keys(table))))
		}
		r.fail(NameSyntax, "extra keys not allowed: %q is not an attribute here", p.name)
	}
	r.at = outer
}

func (p pair) span() Span {
	return Span{p.key.span.Line, max(p.key.span.EndLine, p.val.span.EndLine), p.key.span.Column}
}

// header fills what all objects have.
func (o *Object) header(m *node) {
	o.Span = m.span
	o.Attrs = make([]Attr, len(m.pairs))
	for i, p := range m.pairs {
		o.Attrs[i] = Attr{p.name, p.span()}
	}
}

// required complains about a missing name.
func (r *reader) required(o *Object, attrs ...string) {
	for _, a := range attrs {
		if !slices.ContainsFunc(o.Attrs, func(x Attr) bool { return x.Name == a }) {
			r.at = o.Span
			r.fail(NameSyntax, "required key not provided: %q", a)
		}
	}
}

func (r *reader) expected(what string, v *node) {
	r.fail(NameSyntax, "expected %s, not %s", what, v.kind)
}

func (r *reader) str(v *node) string {
	if v.kind != kindString {
		r.fail(NameSyntax, "expected str for dictionary value, not %s", v.kind)
		return ""
	}
	return v.text
}

// scalar is a string or a number, as text.
func (r *reader) scalar(v *node) string {
	switch v.kind {
	case kindString, kindInt, kindFloat:
		return v.text
	}
	r.expected("a string or a number", v)
	return ""
}

func (r *reader) boolean(v *node) bool {
	if v.kind != kindBool {
		r.expected("bool for dictionary value (true or false)", v)
		return false
	}
	return v.num == 1
}

func (r *reader) integer(v *node) int {
	if v.kind != kindInt {
		r.expected("int for dictionary value", v)
		return 0
	}
	return int(v.num)
}

func (r *reader) atLeast(v *node, low int) int {
	n := r.integer(v)
	if v.kind == kindInt && n < low {
		r.fail(NameSyntax, "value must be at least %d, not %d", low, n)
	}
	return n
}

func (r *reader) oneOf(v *node, allowed ...string) string {
	if v.kind != kindString && v.kind != kindBool {
		r.expected("one of "+strings.Join(allowed, ", "), v)
		return ""
	}
	if !slices.Contains(allowed, v.text) {
		r.hint(Suggest(v.text, allowed))
		r.fail(NameSyntax, "expected one of %s, not %q", strings.Join(allowed, ", "), v.text)
	}
	return v.text
}

// items is a list, or the one value that stands for a list of one.
func items(v *node) []*node {
	if v.kind == kindList {
		return v.list
	}
	return []*node{v}
}

// list tells whether v is a list, where one value alone does not stand for one.
func (r *reader) list(v *node) bool {
	if v.kind != kindList {
		r.hint("write a list, even of one")
		r.expected("a list", v)
	}
	return v.kind == kindList
}

// strs is a list of strings or a string.
func (r *reader) strs(v *node) []string {
	out := make([]string, 0, len(items(v)))
	for _, i := range items(v) {
		if i.kind != kindString {
			r.expected("str for dictionary value (a string or a list of strings)", i)
			continue
		}
		out = append(out, i.text)
	}
	return out
}

// dict is a dictionary with string keys, as plain data.
func (r *reader) dict(v *node) map[string]any {
	if v.kind != kindMap {
		r.expected("a dictionary for dictionary value", v)
		return nil
	}
	return v.plain().(map[string]any)
}

func set[T any](v *node, value T) Setting[T] {
	return Setting[T]{Set: true, Mode: v.mode, Value: value}
}

// regex reads a pattern: a string, or a dictionary of regex and negate. It warns where only the
// Perl-style engine takes it.
func (r *reader) regex(v *node) (change.Pattern, bool) {
	text, negate := "", false
	switch v.kind {
	case kindString:
		text = v.text
	case kindMap:
		errs := r.errors
		read(r, &text, v, attributes[string]{
			"regex":  func(r *reader, t *string, v *node) { *t = r.str(v) },
			"negate": func(r *reader, _ *string, v *node) { negate = r.boolean(v) },
		}, nil)
		if v.child("regex") == nil {
			r.fail(NameSyntax, "required key not provided: %q", "regex")
		}
		if r.errors != errs {
			return change.Pattern{}, false
		}
	default:
		r.expected("a regular expression (a string, or a dictionary of regex and negate)", v)
		return change.Pattern{}, false
	}
	p, err := change.Compile(text, negate)
	if err != nil {
		r.fail(NameSyntax, "the regular expression %q is invalid: %v", text, err)
		return change.Pattern{}, false
	}
	if p.Perl {
		r.hint("write it for RE2, without look-around and back references; {regex: ..., negate: true} replaces a negative look-ahead")
		r.warn(NameRegexDeprecation, "the regular expression %q is not in the RE2 dialect", text)
	}
	return p, true
}

func (r *reader) regexes(v *node) []change.Pattern {
	out := make([]change.Pattern, 0, len(items(v)))
	for _, i := range items(v) {
		if p, ok := r.regex(i); ok {
			out = append(out, p)
		}
	}
	return out
}

var ansibleVar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// reservedVars are names that jobs may not give to variables.
var reservedVars = []string{"zuul", "nodepool", "unsafe_vars", "ansible_connection", "ansible_host",
	"ansible_python_interpreter", "ansible_shell_executable", "ansible_user"}

// vars is a dictionary of Ansible variables, with its names checked.
func (r *reader) vars(v *node, reserved []string) map[string]any {
	m := r.dict(v)
	for _, p := range v.pairs {
		at := r.at
		r.at = p.span()
		if !ansibleVar.MatchString(p.name) {
			r.hint("use letters, digits and underscores, beginning with a letter")
			r.fail(NameSyntax, "Ansible variable name %s is not valid", quote(p.name))
		} else if slices.Contains(reserved, p.name) {
			r.fail(NameSyntax, "Ansible variable name %s is reserved", quote(p.name))
		}
		r.at = at
	}
	return m
}

// varsOf is a dictionary of dictionaries of variables, by host or group.
func (r *reader) varsOf(v *node) map[string]map[string]any {
	if v.kind != kindMap {
		r.expected("a dictionary of dictionaries", v)
		return nil
	}
	out := make(map[string]map[string]any, len(v.pairs))
	for _, p := range v.pairs {
		at := r.at
		r.at = p.span()
		out[p.name] = r.vars(p.val, reservedVars)
		r.at = at
	}
	return out
}

func quote(s string) string { return "'" + s + "'" }
