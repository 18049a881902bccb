package config

import (
	"strings"
)

// dumpLines bounds how much of a value is shown in a message.
const dumpLines = 5

// dump is a value as YAML, cut after a few lines, for messages about things that are not what they
// should be.
func dump(n *node) string {
	var b strings.Builder
	n.dump(&b, "", false)
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) > dumpLines {
		lines = append(lines[:dumpLines], "...")
	}
	for i, l := range lines {
		if len(l) > snippetWidth {
			lines[i] = strings.ToValidUTF8(l[:snippetWidth], "") + "..."
		}
	}
	return strings.Join(lines, "\n")
}

// dump writes n. Inside says that a key or dash has been written on the line.
func (n *node) dump(b *strings.Builder, pad string, inside bool) {
	if b.Len() > dumpLines*snippetWidth {
		return
	}
	switch {
	case n.kind == kindMap && len(n.pairs) > 0:
		if inside {
			b.WriteByte('\n')
		}
		for _, p := range n.pairs {
			b.WriteString(pad + p.name + ":")
			p.val.dump(b, pad+"  ", true)
		}
		return
	case n.kind == kindList && len(n.list) > 0:
		if inside {
			b.WriteByte('\n')
		}
		for _, v := range n.list {
			b.WriteString(pad + "-")
			v.dump(b, pad+"  ", true)
		}
		return
	}
	if inside {
		b.WriteByte(' ')
	}
	switch n.kind {
	case kindMap:
		b.WriteString("{}")
	case kindList:
		b.WriteString("[]")
	case kindNull:
		b.WriteString("null")
	case kindEncrypted:
		b.WriteString("!encrypted/pkcs1-oaep ...")
	default:
		b.WriteString(strings.SplitN(n.text, "\n", 2)[0])
	}
	b.WriteByte('\n')
}
