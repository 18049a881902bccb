package config

// pragma reads the pragma of a file. Several of them add up, the later winning.
func (r *reader) pragma(c *Content, v *node) {
	p := c.Pragma
	errs := r.errors
	read(r, &p, v, attributes[Pragma]{
		"implied-branch-matchers": func(r *reader, p *Pragma, v *node) { p.ImpliedBranchMatchers = set(v, r.boolean(v)) },
		"implied-branches":        func(r *reader, p *Pragma, v *node) { p.ImpliedBranches = set(v, r.regexes(v)) },
	}, nil)
	if r.errors == errs {
		c.Pragma = p
	}
}

func (r *reader) queue(v *node) *Queue {
	q := &Queue{}
	q.header(v)
	read(r, q, v, attributes[Queue]{
		"name":                        func(r *reader, q *Queue, v *node) { q.Name = r.str(v) },
		"per-branch":                  func(r *reader, q *Queue, v *node) { q.PerBranch = r.boolean(v) },
		"allow-circular-dependencies": func(r *reader, q *Queue, v *node) { q.AllowCircular = r.boolean(v) },
		"dependencies-by-topic":       func(r *reader, q *Queue, v *node) { q.ByTopic = r.boolean(v) },
	}, nil)
	r.required(&q.Object, "name")
	if q.ByTopic && !q.AllowCircular {
		r.at = q.At("dependencies-by-topic")
		r.fail(NameUnknown, "The allow-circular-dependencies attribute must be set to true to use dependencies-by-topic")
	}
	return q
}

func (r *reader) semaphore(v *node) *Semaphore {
	s := &Semaphore{Max: 1}
	s.header(v)
	read(r, s, v, attributes[Semaphore]{
		"name": func(r *reader, s *Semaphore, v *node) { s.Name = r.str(v) },
		"max":  func(r *reader, s *Semaphore, v *node) { s.Max = r.integer(v) },
	}, nil)
	r.required(&s.Object, "name")
	return s
}

func (r *reader) secret(v *node) *Secret {
	s := &Secret{}
	s.header(v)
	read(r, s, v, attributes[Secret]{
		"name": func(r *reader, s *Secret, v *node) { s.Name = r.str(v) },
		"data": func(r *reader, s *Secret, v *node) { s.Data = r.dict(v) },
	}, nil)
	r.required(&s.Object, "name", "data")
	return s
}

func (r *reader) image(v *node) *Image {
	i := &Image{}
	i.header(v)
	read(r, i, v, attributes[Image]{
		"name":        func(r *reader, i *Image, v *node) { i.Name = r.str(v) },
		"type":        func(r *reader, i *Image, v *node) { i.Type = r.oneOf(v, "zuul", "cloud") },
		"description": func(r *reader, i *Image, v *node) { i.Description = r.str(v) },
	}, nil)
	r.required(&i.Object, "name", "type")
	return i
}

func (r *reader) flavor(v *node) *Flavor {
	f := &Flavor{}
	f.header(v)
	read(r, f, v, attributes[Flavor]{
		"name":        func(r *reader, f *Flavor, v *node) { f.Name = r.str(v) },
		"description": func(r *reader, f *Flavor, v *node) { f.Description = r.str(v) },
	}, nil)
	r.required(&f.Object, "name")
	return f
}

func (r *reader) label(v *node) *Label {
	l := &Label{}
	l.header(v)
	read(r, l, v, attributes[Label]{
		"name":          func(r *reader, l *Label, v *node) { l.Name = r.str(v) },
		"image":         func(r *reader, l *Label, v *node) { l.Image = r.str(v) },
		"flavor":        func(r *reader, l *Label, v *node) { l.Flavor = r.str(v) },
		"description":   func(r *reader, l *Label, v *node) { l.Description = r.str(v) },
		"min-ready":     func(r *reader, l *Label, v *node) { l.MinReady = r.atLeast(v, 0) },
		"max-ready-age": func(r *reader, l *Label, v *node) { l.MaxReadyAge = r.atLeast(v, 0) },
	}, nil)
	r.required(&l.Object, "name", "image", "flavor")
	return l
}

func (r *reader) section(v *node) *Section {
	s := &Section{}
	s.header(v)
	s.Data = map[string]any{}
	read(r, s, v, attributes[Section]{
		"name":       func(r *reader, s *Section, v *node) { s.Name = r.str(v) },
		"parent":     func(r *reader, s *Section, v *node) { s.Parent = r.str(v) },
		"abstract":   func(r *reader, s *Section, v *node) { s.Abstract = r.boolean(v) },
		"connection": func(r *reader, s *Section, v *node) { s.Connection = r.str(v); s.Data["connection"] = s.Connection },
	}, func(p pair) { s.Data[p.name] = r.providerValue(p) })
	r.required(&s.Object, "name")
	return s
}

func (r *reader) provider(v *node) *Provider {
	o := &Provider{}
	o.header(v)
	o.Data = map[string]any{}
	read(r, o, v, attributes[Provider]{
		"name":    func(r *reader, o *Provider, v *node) { o.Name = r.str(v) },
		"section": func(r *reader, o *Provider, v *node) { o.Section = r.str(v) },
		"flavors": func(r *reader, _ *Provider, _ *node) {
			r.fail(NameSyntax, "extra keys not allowed: a provider may not define flavors; put them into its section")
		},
	}, func(p pair) { o.Data[p.name] = r.providerValue(p) })
	r.required(&o.Object, "name", "section")
	return o
}

// providerValue is an attribute of a section or provider. Lists of images, flavors and labels hold
// names or dictionaries with one; both become dictionaries.
func (r *reader) providerValue(p pair) any {
	switch p.name {
	case "images", "flavors", "labels":
	default:
		return p.val.plain()
	}
	out := make([]any, 0, len(items(p.val)))
	for _, i := range items(p.val) {
		switch {
		case i.kind == kindString:
			out = append(out, map[string]any{"name": i.text})
		case i.kind == kindMap && i.child("name") != nil:
			out = append(out, i.plain())
		default:
			r.expected("a name, or a dictionary with a name", i)
		}
	}
	return out
}
