package config

import (
	"math"
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindString
	kindList
	kindMap
	kindEncrypted
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "an integer", "a number", "a string", "a list", "a dictionary",
		"an encrypted value"}[k]
}

// Mode says how an attribute combines with the inherited value.
type Mode uint8

// The modes that the tags !override and !inherit choose; Default is each attribute's own.
const (
	Default Mode = iota
	Override
	Inherit
)

// node is a YAML value with aliases followed, merge keys applied and scalars read as YAML 1.1.
type node struct {
	kind kind
	mode Mode
	// text is a scalar as written (the value, for strings).
	text  string
	num   int64
	float float64
	list  []*node
	pairs []pair
	// size counts the values in it, aliases followed.
	size int
	span Span
}

type pair struct {
	key  *node
	name string
	val  *node
}

func (n *node) child(name string) *node {
	for _, p := range n.pairs {
		if p.name == name {
			return p.val
		}
	}
	return nil
}

// add counts v into n and lets n reach to the end of v.
func (n *node) add(v *node) {
	n.size = min(n.size+v.size, math.MaxInt32)
	n.span.EndLine = max(n.span.EndLine, v.span.EndLine)
}

// inherit puts the pairs of merged mappings in front; own keys and earlier mappings win.
func (n *node) inherit(merged []*node, seen map[string]bool) {
	var front []pair
	for _, m := range merged {
		for _, p := range m.pairs {
			if !seen[p.name] {
				seen[p.name] = true
				front = append(front, p)
				n.size = min(n.size+p.val.size, math.MaxInt32)
			}
		}
	}
	if front != nil {
		n.pairs = append(front, n.pairs...)
	}
}
