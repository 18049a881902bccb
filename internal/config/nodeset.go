package config

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

func (r *reader) namedNodeset(v *node) *Nodeset {
	n := r.nodeset(v, true)
	r.required(&n.Object, "name")
	return n
}

// nodesetUse is a nodeset by name, or one written in place.
func (r *reader) nodesetUse(v *node) NodesetUse {
	switch v.kind {
	case kindString:
		return NodesetUse{Name: v.text}
	case kindMap:
		return NodesetUse{Inline: r.nodeset(v, false)}
	}
	r.expected("a nodeset or the name of one", v)
	return NodesetUse{}
}

func (r *reader) nodeset(v *node, named bool) *Nodeset {
	n := &Nodeset{}
	n.header(v)
	if !named {
		n.Span = r.at
	}
	table := attributes[Nodeset]{
		"nodes":  func(r *reader, n *Nodeset, v *node) { r.nodes(n, v) },
		"groups": func(r *reader, n *Nodeset, v *node) { r.groups(n, v) },
		"alternatives": func(r *reader, n *Nodeset, v *node) {
			if !r.list(v) {
				return
			}
			for _, i := range v.list {
				n.Alternatives = append(n.Alternatives, r.nodesetUse(i))
			}
		},
	}
	if named {
		table["name"] = func(r *reader, n *Nodeset, v *node) { n.Name = r.str(v) }
	}
	read(r, n, v, table, nil)
	alternatives, nodes := v.child("alternatives") != nil, v.child("nodes") != nil
	switch {
	case alternatives && (nodes || v.child("groups") != nil):
		r.fail(NameSyntax, "extra keys not allowed: alternatives exclude nodes and groups")
	case !alternatives && !nodes:
		r.hint("an empty list stands for no nodes: nodes: []")
		r.fail(NameSyntax, "required key not provided: %q", "nodes")
	}
	r.checkGroups(n)
	return n
}

func (r *reader) nodes(n *Nodeset, v *node) {
	seen := map[string]bool{}
	for _, i := range items(v) {
		d := job.Node{}
		span := i.span
		read(r, &d, i, attributes[job.Node]{
			"name":  func(r *reader, d *job.Node, v *node) { d.Names = r.strs(v) },
			"label": func(r *reader, d *job.Node, v *node) { d.Label, span = r.str(v), r.at },
		}, nil)
		if i.kind == kindMap && (i.child("name") == nil || i.child("label") == nil) {
			r.fail(NameSyntax, "required key not provided: a node needs name and label")
		}
		for _, name := range d.Names {
			switch {
			case name == "localhost":
				r.fail(NameUnknown, "Nodes named '%s' are not allowed", name)
			case seen[name]:
				r.fail(NameDuplicateNode, "Node named %q appears multiple times in the nodeset", name)
			}
			seen[name] = true
		}
		n.Nodes = append(n.Nodes, d)
		n.Labels = append(n.Labels, span)
	}
}

func (r *reader) groups(n *Nodeset, v *node) {
	for _, i := range items(v) {
		g := job.Group{}
		read(r, &g, i, attributes[job.Group]{
			"name":  func(r *reader, g *job.Group, v *node) { g.Name = r.str(v) },
			"nodes": func(r *reader, g *job.Group, v *node) { g.Nodes = r.strs(v) },
		}, nil)
		if i.kind == kindMap && (i.child("name") == nil || i.child("nodes") == nil) {
			r.fail(NameSyntax, "required key not provided: a group needs name and nodes")
		}
		n.Groups = append(n.Groups, g)
	}
}

// checkGroups is done when all nodes are known, as attributes come in any order.
func (r *reader) checkGroups(n *Nodeset) {
	at := r.at
	defer func() { r.at = at }()
	r.at = n.At("groups")
	seen := map[string]bool{}
	for _, g := range n.Groups {
		switch {
		case strings.Contains(g.Name, "localhost"):
			r.fail(NameUnknown, "Groups named '%s' are not allowed", g.Name)
		case seen[g.Name]:
			r.fail(NameDuplicateGroup, "Group named %q appears multiple times in the nodeset", g.Name)
		}
		seen[g.Name] = true
		for _, name := range g.Nodes {
			if !slices.ContainsFunc(n.Nodes, func(d job.Node) bool { return slices.Contains(d.Names, name) }) {
				r.fail(NameNodeFromGroup, "the group %q contains the node %q, which is not defined in the nodeset", g.Name, name)
			}
		}
	}
}
