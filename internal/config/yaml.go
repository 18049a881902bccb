package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/job"
)

// yamlError is why a document, or one item of it, cannot be read, and where. Object is the kind of the
// item.
type yamlError struct {
	span   Span
	text   string
	object string
}

// loader converts what the YAML library parsed. Problems are collected; a nil node is one that had
// some.
type loader struct {
	errs []yamlError
	// done memoises the conversion of anchored nodes; a nil entry is one in progress.
	done map[*yaml.Node]*node
}

func (l *loader) fail(n *yaml.Node, format string, args ...any) *node {
	l.errs = append(l.errs, yamlError{span: Span{n.Line, n.Line, n.Column}, text: fmt.Sprintf(format, args...)})
	return nil
}

// loadYAML reads one document. A nil node without errors is an empty document.
func loadYAML(data []byte) (root *node, errs []yamlError) {
	if len(data) > MaxBytes {
		return nil, []yamlError{{text: fmt.Sprintf("the file has %d bytes, more than the %d allowed", len(data), MaxBytes)}}
	}
	if i := notText(data); i >= 0 {
		line := 1 + bytes.Count(data[:i], []byte("\n"))
		return nil, []yamlError{{span: Span{line, line, 1}, text: fmt.Sprintf("the file is not UTF-8 text: byte 0x%02x at offset %d", data[i], i)}}
	}
	if line := tooDeep(data); line > 0 {
		return nil, []yamlError{{span: Span{line, line, 1}, text: fmt.Sprintf("values are nested more than %d deep", maxDepth)}}
	}
	if n := signs(data); n > maxValues {
		return nil, []yamlError{{text: fmt.Sprintf("the file has about %d values, more than the %d allowed; divide it", n, maxValues)}}
	}
	doc, err := parseDocument(data)
	if err != nil {
		return nil, []yamlError{syntaxError(err, data)}
	}
	if doc == nil || len(doc.Content) == 0 {
		return nil, nil
	}
	l := &loader{done: map[*yaml.Node]*node{}}
	n := l.root(doc.Content[0])
	if n != nil && n.size > maxValues {
		n = l.fail(doc.Content[0], "aliases expand to more than %d values", maxValues)
	}
	if n != nil && n.kind == kindNull {
		n = nil
	}
	return n, l.errs
}

// parseDocument reads the first document. The library is known to panic on some hostile input; that is
// an error of the input like any other.
func parseDocument(data []byte) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			doc, err = nil, fmt.Errorf("yaml: the text cannot be read: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc = &yaml.Node{}
	if err := dec.Decode(doc); err != nil {
		if err.Error() == "EOF" {
			return nil, nil
		}
		return nil, err
	}
	if second := (&yaml.Node{}); dec.Decode(second) == nil {
		return nil, fmt.Errorf("yaml: line %d: a second document begins; one file holds one", second.Line)
	}
	return doc, nil
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntaxError finds the place in the library's message. It tells no line for the first one, nor for
// anchors.
func syntaxError(err error, data []byte) yamlError {
	e := yamlError{text: err.Error(), span: Span{1, 1, 1}}
	if m := yamlLine.FindStringSubmatch(e.text); m != nil {
		e.text = e.text[len(m[0]):]
		if n, _ := strconv.Atoi(m[1]); n > 0 {
			e.span = Span{n, n, 1}
		}
	}
	if m := yamlAnchor.FindStringSubmatch(e.text); m != nil {
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			n := 1 + bytes.Count(data[:i], []byte("\n"))
			e.span = Span{n, n, i - bytes.LastIndexByte(data[:i], '\n')}
		}
	}
	e.text = "the YAML cannot be read: " + e.text
	return e
}

// root converts the document. In a list, an item that cannot be read does not hide the others.
func (l *loader) root(n *yaml.Node) *node {
	if n.Kind != yaml.SequenceNode || n.Anchor != "" {
		return l.convert(n, 0)
	}
	out := &node{kind: kindList, size: 1, span: Span{n.Line, n.Line, n.Column}}
	for _, c := range n.Content {
		before := len(l.errs)
		if v := l.convert(c, 1); v != nil {
			out.list = append(out.list, v)
			out.add(v)
			continue
		}
		if c.Kind == yaml.MappingNode && len(c.Content) > 0 {
			for i := range l.errs[before:] {
				l.errs[before+i].object = c.Content[0].Value
			}
		}
	}
	return out
}

func (l *loader) convert(n *yaml.Node, depth int) *node {
	if depth > maxDepth {
		return l.fail(n, "values are nested more than %d deep", maxDepth)
	}
	if n.Kind == yaml.AliasNode {
		return l.alias(n, depth)
	}
	if n.Anchor != "" {
		l.done[n] = nil
	}
	out := l.value(n, depth)
	if n.Anchor != "" {
		l.done[n] = out
	}
	return out
}

func (l *loader) alias(n *yaml.Node, depth int) *node {
	target, seen := l.done[n.Alias]
	if !seen {
		return l.convert(n.Alias, depth)
	}
	if target == nil {
		return l.fail(n, "the alias *%s refers to itself or to a value with errors", n.Value)
	}
	// The alias stands where it is written; its content stays where the anchor is.
	c := *target
	c.span = Span{n.Line, n.Line, n.Column}
	return &c
}

func (l *loader) value(n *yaml.Node, depth int) *node {
	out := &node{size: 1, span: Span{n.Line, n.Line, n.Column}}
	tag := n.Tag
	explicit := n.Style&yaml.TaggedStyle != 0 || strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!")
	if explicit {
		switch tag {
		case "!override":
			out.mode, explicit = Override, false
		case "!inherit":
			out.mode, explicit = Inherit, false
		case job.EncryptedKey:
			return l.encrypted(n, out)
		case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map", "!":
		default:
			return l.fail(n, "the tag %s is not known here", tag)
		}
	}
	var ok bool
	switch n.Kind {
	case yaml.ScalarNode:
		ok = l.scalar(n, out, explicit)
	case yaml.SequenceNode:
		ok = l.sequence(n, out, depth)
	case yaml.MappingNode:
		ok = l.mapping(n, out, depth)
	default:
		l.fail(n, "this kind of YAML value is not known")
	}
	if !ok {
		return nil
	}
	return out
}

func (l *loader) scalar(n *yaml.Node, out *node, explicit bool) bool {
	out.text = n.Value
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		out.span.EndLine += strings.Count(strings.TrimRight(n.Value, "\n"), "\n") + 1
	}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case explicit && n.Tag == "!!str", explicit && n.Tag == "!", quoted && !explicit:
		out.kind = kindString
	default:
		resolveScalar(out)
	}
	if out.mode != Default && out.kind != kindString {
		l.fail(n, "the tag %s can be put on a dictionary, a list or a string only", n.Tag)
		return false
	}
	return true
}

func (l *loader) sequence(n *yaml.Node, out *node, depth int) bool {
	out.kind = kindList
	ok := true
	out.list = make([]*node, 0, len(n.Content))
	for _, c := range n.Content {
		v := l.convert(c, depth+1)
		if v == nil {
			ok = false
			continue
		}
		out.list = append(out.list, v)
		out.add(v)
	}
	return ok
}

func (l *loader) mapping(n *yaml.Node, out *node, depth int) bool {
	out.kind = kindMap
	ok := true
	seen := make(map[string]bool, len(n.Content)/2)
	var merged []*node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			l.fail(key, "while constructing a mapping, found unhashable key: a key must be a plain value, not a list or dictionary")
			ok = false
			continue
		}
		merge := key.Value == "<<" && (key.Style == 0 || key.Tag == "!!merge")
		if seen[key.Value] && !merge {
			l.fail(key, "the key %q appears more than once", key.Value)
			ok = false
			continue
		}
		seen[key.Value] = true
		v := l.convert(val, depth+1)
		if v == nil {
			ok = false
			continue
		}
		if merge {
			if m, good := l.merge(val, v); good {
				merged = append(merged, m...)
			} else {
				ok = false
			}
			continue
		}
		k := &node{kind: kindString, text: key.Value, size: 1, span: Span{key.Line, key.Line, key.Column}}
		if key.Style == 0 {
			resolveScalar(k)
		}
		out.pairs = append(out.pairs, pair{k, key.Value, v})
		out.add(v)
	}
	out.inherit(merged, seen)
	return ok
}

// merge lists the mappings that a merge key names.
func (l *loader) merge(at *yaml.Node, v *node) ([]*node, bool) {
	list := []*node{v}
	if v.kind == kindList {
		list = v.list
	}
	for _, m := range list {
		if m.kind != kindMap {
			l.fail(at, "a merge key (<<) needs a dictionary or a list of dictionaries, not %s", m.kind)
			return nil, false
		}
	}
	return list, true
}

func (l *loader) encrypted(n *yaml.Node, out *node) *node {
	out.kind = kindEncrypted
	switch n.Kind {
	case yaml.ScalarNode:
		out.list = []*node{{kind: kindString, text: n.Value}}
		out.span.EndLine += strings.Count(n.Value, "\n")
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return l.fail(c, "a chunk of an encrypted value must be base64 text")
			}
			out.list = append(out.list, &node{kind: kindString, text: c.Value})
			out.span.EndLine = max(out.span.EndLine, c.Line+strings.Count(c.Value, "\n"))
		}
	default:
		return l.fail(n, "an encrypted value must be base64 text or a list of it")
	}
	out.size += len(out.list)
	return out
}
