package deps

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// item is what is added to a list of a job: a dependency, or a semaphore.
type item struct {
	name string
	soft bool
}

// block is the item as lines of a list; flow is the same in one line.
func (i item) block() []string {
	if i.soft {
		return []string{"- name: " + i.name, "  soft: true"}
	}
	return []string{"- " + i.name}
}

func (i item) flow() string {
	if i.soft {
		return "{name: " + i.name + ", soft: true}"
	}
	return i.name
}

func (i item) node() *yaml.Node {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(i.flow()), &n); err != nil {
		panic("deps: an item of a list is no YAML: " + err.Error())
	}
	n.Content[0].Style &^= yaml.FlowStyle
	return n.Content[0]
}

// inserter adds an item to a list of a job, and leaves the rest of a text as it is written.
type inserter struct {
	lines []string
	doc   yaml.Node
	key   string
	add   item
}

// insert adds an item to the list key of a job in a pipeline of a project or project-template, so that comments
// and the rest stay as they are. A list that an alias shares becomes one of the job's own.
func insert(text, pipeline, job, key string, add item) (string, error) {
	w := &inserter{lines: strings.Split(text, "\n"), key: key, add: add}
	if err := yaml.Unmarshal([]byte(text), &w.doc); err != nil {
		return "", err
	}
	at, flow := entryOf(&w.doc, pipeline, job)
	if at == nil {
		return "", errors.New("its entry is not where it was expected")
	}
	if err := w.entry(at, flow); err != nil {
		return "", err
	}
	out := strings.Join(w.lines, "\n")
	var again yaml.Node
	if err := yaml.Unmarshal([]byte(out), &again); err != nil {
		return "", fmt.Errorf("what would come of it is no YAML: %w", err)
	}
	return out, nil
}

func (w *inserter) entry(at *yaml.Node, flow bool) error {
	if at.Kind == yaml.ScalarNode {
		return w.name(at, flow)
	}
	body := at.Content[1]
	indent := at.Column - 1 + 2
	switch {
	case body.Kind == yaml.AliasNode:
		return w.own(body, w.with(body.Alias), indent)
	case body.Kind == yaml.ScalarNode: // - job: with nothing behind it
		w.put(at.Line, indent, w.inner())
		return nil
	case body.Anchor != "" && w.aliased(body):
		return fmt.Errorf("its entry is the anchor &%s, which others use too", body.Anchor)
	}
	for i := 0; i+1 < len(body.Content); i += 2 {
		if body.Content[i].Value == w.key {
			return w.list(body.Content[i+1], body.Content[i].Column-1+2)
		}
	}
	if list := merged(body, w.key); list != nil {
		// A key of its own replaces the one that is merged in: it has what that had.
		own := resolved(list)
		own.Content = append(own.Content, w.add.node())
		if body.Style&yaml.FlowStyle != 0 {
			return fmt.Errorf("its %s are merged in from elsewhere", w.key)
		}
		text, err := render(own)
		if err != nil {
			return err
		}
		w.put(end(body), body.Column-1, append([]string{w.key + ":"}, indented(text, 2)...))
		return nil
	}
	if body.Style&yaml.FlowStyle != 0 {
		return w.close(body, w.key+": ["+w.add.flow()+"]", len(body.Content) > 0)
	}
	w.put(end(body), body.Column-1, w.inner())
	return nil
}

// name makes a dictionary of a job that is only named.
func (w *inserter) name(at *yaml.Node, flow bool) error {
	line := w.lines[at.Line-1]
	from := offset(line, at.Column)
	if flow {
		word := line[from:]
		size := len(at.Value)
		if strings.HasPrefix(word, `"`) || strings.HasPrefix(word, "'") {
			size += 2
		}
		if size > len(word) {
			return errors.New("its name goes over more than a line")
		}
		w.lines[at.Line-1] = line[:from] + "{" + word[:size] + ": {" + w.key + ": [" + w.add.flow() + "]}}" + word[size:]
		return nil
	}
	name, comment, _ := strings.Cut(line[from:], " #")
	if comment != "" {
		comment = " #" + comment
	}
	w.lines[at.Line-1] = line[:from] + strings.TrimRight(name, " ") + ":" + comment
	w.put(at.Line, at.Column-1+2, w.inner())
	return nil
}

// list adds to the value that a key has now.
func (w *inserter) list(v *yaml.Node, indent int) error {
	switch {
	case v.Kind == yaml.AliasNode:
		own := resolved(v.Alias)
		own.Content = append(own.Content, w.add.node())
		return w.own(v, own, indent)
	case v.Anchor != "" && w.aliased(v):
		return fmt.Errorf("its list is the anchor &%s, which others use too", v.Anchor)
	case v.Kind == yaml.ScalarNode && v.Value != "" && v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0:
		line := w.lines[v.Line-1]
		from := offset(line, v.Column)
		word, comment, _ := strings.Cut(line[from:], " #")
		if comment != "" {
			comment = " #" + comment
		}
		if strings.ContainsAny(word, "{}[],") {
			return errors.New("its list is one word in braces")
		}
		w.lines[v.Line-1] = line[:from] + "[" + strings.TrimRight(word, " ") + ", " + w.add.flow() + "]" + comment
		return nil
	case v.Kind != yaml.SequenceNode:
		return errors.New("it is no list")
	case v.Style&yaml.FlowStyle != 0:
		return w.close(v, w.add.flow(), len(v.Content) > 0)
	}
	w.put(end(v), v.Column-1, w.add.block())
	return nil
}

// own puts what an alias stands for in its place.
func (w *inserter) own(alias, value *yaml.Node, indent int) error {
	text, err := render(value)
	if err != nil {
		return err
	}
	line := w.lines[alias.Line-1]
	from := offset(line, alias.Column)
	word := "*" + alias.Value
	if !strings.HasPrefix(line[from:], word) || strings.ContainsAny(line[:from], "{[") {
		return fmt.Errorf("its list is the alias %s", word)
	}
	w.lines[alias.Line-1] = strings.TrimRight(strings.TrimRight(line[:from], " ")+strings.TrimPrefix(line[from:], word), " ")
	w.put(alias.Line, indent, text)
	return nil
}

// with is what an entry says, with the item added.
func (w *inserter) with(body *yaml.Node) *yaml.Node {
	own := resolved(body)
	for i := 0; i+1 < len(own.Content); i += 2 {
		if own.Content[i].Value == w.key && own.Content[i+1].Kind == yaml.SequenceNode {
			own.Content[i+1].Content = append(own.Content[i+1].Content, w.add.node())
			return own
		}
	}
	own.Content = append(own.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: w.key}, &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{w.add.node()}})
	return own
}

func (w *inserter) inner() []string {
	return append([]string{w.key + ":"}, indented(w.add.block(), 2)...)
}

// put adds lines after a line.
func (w *inserter) put(after, indent int, list []string) {
	rest := append(indented(list, indent), w.lines[after:]...)
	w.lines = append(w.lines[:after:after], rest...)
}

// close writes before the brace or bracket that ends a node.
func (w *inserter) close(n *yaml.Node, text string, more bool) error {
	depth, quote, last := 0, byte(0), byte(0)
	for l, from := n.Line-1, offset(w.lines[n.Line-1], n.Column); l < len(w.lines); l, from = l+1, 0 {
		line := w.lines[l]
		for i := from; i < len(line); i++ {
			c := line[i]
			switch {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '"' || c == '\'':
				quote = c
			case c == '#' && i > 0 && line[i-1] == ' ':
				i = len(line)
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					before := line[:i]
					if strings.TrimSpace(before) != "" && more {
						before = strings.TrimRight(before, " ")
					}
					switch {
					case more && last != ',':
						before += ", "
					case more && strings.TrimSpace(before) != "":
						before += " "
					}
					w.lines[l] = before + text + line[i:]
					return nil
				}
			}
			if i < len(line) && c != ' ' {
				last = c
			}
		}
	}
	return errors.New("the end of its braces was not found")
}

// aliased reports whether others use a node by its anchor.
func (w *inserter) aliased(n *yaml.Node) bool {
	var found func(at *yaml.Node) bool
	found = func(at *yaml.Node) bool {
		if at.Kind == yaml.AliasNode && at.Alias == n {
			return true
		}
		for _, c := range at.Content {
			if found(c) {
				return true
			}
		}
		return false
	}
	return found(&w.doc)
}

// resolved is a copy of a node without anchors, aliases and comments.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return resolved(n.Alias)
	}
	out := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value}
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			out.Content = append(out.Content, resolved(c))
		}
	}
	return out
}

// merged is the value that a key has by "<<"; nil where it has none.
func merged(body *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(body.Content); i += 2 {
		if body.Content[i].Value != "<<" {
			continue
		}
		from := body.Content[i+1]
		sources := []*yaml.Node{from}
		if from.Kind == yaml.SequenceNode {
			sources = from.Content
		}
		for _, s := range sources {
			if s.Kind == yaml.AliasNode {
				s = s.Alias
			}
			if v := value(s, key); v != nil {
				return v
			}
			if v := merged(s, key); v != nil {
				return v
			}
		}
	}
	return nil
}

func render(n *yaml.Node) ([]string, error) {
	if n.Kind == yaml.SequenceNode {
		n.Style &^= yaml.FlowStyle
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(n), e.Close()); err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n"), nil
}

func indented(lines []string, n int) []string {
	var out []string
	for _, l := range lines {
		out = append(out, strings.Repeat(" ", n)+l)
	}
	return out
}

// offset is the byte at a column of a line, which counts letters from one.
func offset(line string, column int) int {
	at := 0
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	return at
}

// entryOf finds the entry of a job in a pipeline: a scalar, or a dictionary with one key. flow: it is one of a list
// in brackets.
func entryOf(doc *yaml.Node, pipeline, job string) (entry *yaml.Node, flow bool) {
	if len(doc.Content) == 0 {
		return nil, false
	}
	for _, object := range doc.Content[0].Content {
		for _, kind := range []string{"project", "project-template"} {
			jobs := value(value(value(object, kind), pipeline), "jobs")
			if jobs == nil {
				continue
			}
			if jobs.Kind == yaml.AliasNode {
				continue // that of another pipeline, which is where it is written
			}
			for _, e := range jobs.Content {
				if e.Kind == yaml.ScalarNode && e.Value == job || e.Kind == yaml.MappingNode && len(e.Content) == 2 && e.Content[0].Value == job {
					return e, jobs.Style&yaml.FlowStyle != 0
				}
			}
		}
	}
	return nil, false
}

func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// end is the last line of a node.
func end(n *yaml.Node) int {
	last := n.Line
	if n.Kind == yaml.ScalarNode && (n.Style == yaml.LiteralStyle || n.Style == yaml.FoldedStyle) {
		last += strings.Count(n.Value, "\n")
	}
	for _, c := range n.Content {
		last = max(last, end(c))
	}
	return last
}
