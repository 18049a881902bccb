package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
)

// providerObjects are the declarations from which providers are made.
type providerObjects struct {
	images    map[string]*declared[config.Image]
	flavors   map[string]*declared[config.Flavor]
	labels    map[string]*declared[config.Label]
	sections  map[string]*declared[config.Section]
	providers map[string]*declared[config.Provider]
	flat      []Provider
}

// Provider is a provider with its sections merged into it. The hash of an entry changes whenever what
// is made from it would.
type Provider struct {
	Name string `json:"name"`
	// Canonical is unique over all tenants that read the provider from the same project.
	Canonical  string `json:"canonical"`
	Connection string `json:"connection"`
	// Config is everything else that the provider and its sections say, for the driver.
	Config  map[string]any  `json:"config,omitempty"`
	Images  []ProviderEntry `json:"images,omitempty"`
	Flavors []ProviderEntry `json:"flavors,omitempty"`
	Labels  []ProviderEntry `json:"labels,omitempty"`
}

// ProviderEntry is an image, flavor or label of a provider with all that was said of it.
type ProviderEntry struct {
	Name      string         `json:"name"`
	Canonical string         `json:"canonical"`
	Hash      string         `json:"hash"`
	Config    map[string]any `json:"config,omitempty"`
}

// Providers are the providers of the tenant, in load order. They are never speculative.
func (l *Layout) Providers() []Provider {
	if l.live != nil {
		return l.live.Providers()
	}
	return slices.Clone(l.providers.flat)
}

func (l *Layout) addProviderObjects(files []placed) {
	o := &l.providers
	o.images = map[string]*declared[config.Image]{}
	o.flavors = map[string]*declared[config.Flavor]{}
	o.labels = map[string]*declared[config.Label]{}
	o.sections = map[string]*declared[config.Section]{}
	o.providers = map[string]*declared[config.Provider]{}
	each(l, files, "image", func(f *placed) []*config.Image { return f.Images }, func(f *placed, i *config.Image) {
		unique(l, o.images, "image", f, &i.Object, i, func(a, b *config.Image) bool {
			return a.Type == b.Type && a.Description == b.Description
		})
	})
	each(l, files, "flavor", func(f *placed) []*config.Flavor { return f.Flavors }, func(f *placed, v *config.Flavor) {
		unique(l, o.flavors, "flavor", f, &v.Object, v, func(a, b *config.Flavor) bool { return a.Description == b.Description })
	})
	each(l, files, "label", func(f *placed) []*config.Label { return f.Labels }, l.addLabel)
	each(l, files, "section", func(f *placed) []*config.Section { return f.Sections }, func(f *placed, s *config.Section) {
		unique(l, o.sections, "section", f, &s.Object, s, func(a, b *config.Section) bool {
			return a.Parent == b.Parent && a.Abstract == b.Abstract && sum(a.Data) == sum(b.Data)
		})
	})
	l.checkSections(files)
	each(l, files, "provider", func(f *placed) []*config.Provider { return f.Providers }, l.addProvider)
}

// suggestOf is what may be meant by a name among those of a map.
func suggestOf[T any](name string, known map[string]T) string {
	return config.Suggest(name, slices.Collect(maps.Keys(known)))
}

// checkSections finds sections without a parent, with one in another project, and those that are their own ancestors,
// whether some provider uses them or not.
func (l *Layout) checkSections(files []placed) {
	known := l.providers.sections
	each(l, files, "section", func(f *placed) []*config.Section { return f.Sections }, func(f *placed, s *config.Section) {
		d := known[s.Name]
		if d == nil || d.decl != s || s.Parent == "" {
			return
		}
		p := known[s.Parent]
		switch {
		case p == nil:
			l.reportHint(f.File, "section", s.Name, s.At("parent"), config.NameUnknown, suggestOf(s.Parent, known), "The section %q was not found", s.Parent)
			return
		case p.origin != f.project:
			l.report(f.File, "section", s.Name, s.At("parent"), config.NameUnknown,
				"The section %q is in %s; a section and its parent must be in one project", s.Parent, p.origin.name)
			return
		}
		way := []string{s.Name}
		for n := s.Parent; n != "" && known[n] != nil; n = known[n].decl.Parent {
			way = append(way, n)
			if n == s.Name {
				l.report(f.File, "section", s.Name, s.At("parent"), config.NameUnknown, "Section cycle: %s", strings.Join(way, " -> "))
				return
			}
			if len(way) > len(known) {
				return // it leads into a cycle that it is no part of
			}
		}
	})
}

func (l *Layout) addLabel(f *placed, v *config.Label) {
	if l.providers.images[v.Image] == nil {
		l.reportHint(f.File, "label", v.Name, v.At("image"), config.NameUnknown, suggestOf(v.Image, l.providers.images), "The image %q was not found", v.Image)
		return
	}
	if l.providers.flavors[v.Flavor] == nil {
		l.reportHint(f.File, "label", v.Name, v.At("flavor"), config.NameUnknown, suggestOf(v.Flavor, l.providers.flavors), "The flavor %q was not found", v.Flavor)
		return
	}
	unique(l, l.providers.labels, "label", f, &v.Object, v, func(a, b *config.Label) bool {
		return a.Image == b.Image && a.Flavor == b.Flavor && a.MinReady == b.MinReady && a.MaxReadyAge == b.MaxReadyAge
	})
}

func (l *Layout) addProvider(f *placed, p *config.Provider) {
	same := func(a, b *config.Provider) bool { return a.Section == b.Section && sum(a.Data) == sum(b.Data) }
	if !unique(l, l.providers.providers, "provider", f, &p.Object, p, same) {
		return
	}
	flat, attr, why := l.flattenProvider(f.project, p)
	if why != "" {
		l.report(f.File, "provider", p.Name, p.At(attr), config.NameUnknown, "%s", why)
		return
	}
	l.providers.flat = append(l.providers.flat, flat)
}

// flattenProvider merges the chain of sections under the provider, and the tenant's images, flavors
// and labels under its entries.
func (l *Layout) flattenProvider(owner *project, p *config.Provider) (flat Provider, attr, why string) {
	data, name := p.Data, p.Section
	for seen := map[string]bool{}; name != ""; {
		s := l.providers.sections[name]
		switch {
		case s == nil:
			return flat, "section", fmt.Sprintf("The section %q was not found", name)
		case s.origin != owner:
			return flat, "section", fmt.Sprintf("The section %q is in %s; a provider and its sections must be in one project", name, s.origin.name)
		case seen[name]:
			return flat, "section", fmt.Sprintf("The sections of provider %q form a cycle at %q", p.Name, name)
		}
		seen[name] = true
		data = under(s.decl.Data, data)
		name = s.decl.Parent
	}
	flat = Provider{Name: p.Name, Canonical: canonical(owner, p.Name), Config: map[string]any{}}
	flat.Connection, _ = data["connection"].(string)
	if flat.Connection == "" {
		return flat, "section", fmt.Sprintf("The provider %q and its sections name no connection", p.Name)
	}
	for k, v := range data {
		switch k {
		case "images", "flavors", "labels", "connection", "description":
		default:
			flat.Config[k] = v
		}
	}
	flat.Images, why = l.entries(data["images"], "image")
	if why == "" {
		flat.Flavors, why = l.entries(data["flavors"], "flavor")
	}
	if why == "" {
		flat.Labels, why = l.entries(data["labels"], "label")
	}
	if why != "" {
		return flat, "", why
	}
	for i := range flat.Labels {
		flat.Labels[i].Hash = labelHash(flat.Labels[i], flat.Images, flat.Flavors)
	}
	return flat, "", ""
}

// entries gives each entry the defaults of the object that it names.
func (l *Layout) entries(value any, kind string) ([]ProviderEntry, string) {
	list, _ := value.([]any)
	var out []ProviderEntry
	for _, v := range list {
		own, _ := v.(map[string]any)
		name, _ := own["name"].(string)
		defaults, origin := l.defaults(kind, name)
		if defaults == nil {
			return nil, fmt.Sprintf("The %s %q was not found", kind, name)
		}
		conf := under(defaults, own)
		e := ProviderEntry{Name: name, Canonical: canonical(origin, name), Config: conf, Hash: sum(conf)}
		if i := slices.IndexFunc(out, func(o ProviderEntry) bool { return o.Name == name }); i >= 0 {
			// The same entry of an outer section: the inner one refines it.
			conf = under(out[i].Config, conf)
			e.Config, e.Hash = conf, sum(conf)
			out[i] = e
			continue
		}
		out = append(out, e)
	}
	return out, ""
}

func (l *Layout) defaults(kind, name string) (map[string]any, *project) {
	o := &l.providers
	switch kind {
	case "image":
		if d := o.images[name]; d != nil {
			return map[string]any{"name": name, "type": d.decl.Type}, d.origin
		}
	case "flavor":
		if d := o.flavors[name]; d != nil {
			return map[string]any{"name": name}, d.origin
		}
	case "label":
		if d := o.labels[name]; d != nil {
			m := map[string]any{"name": name, "image": d.decl.Image, "flavor": d.decl.Flavor}
			if d.decl.MinReady > 0 {
				m["min-ready"] = d.decl.MinReady
			}
			if d.decl.MaxReadyAge > 0 {
				m["max-ready-age"] = d.decl.MaxReadyAge
			}
			return m, d.origin
		}
	}
	return nil, nil
}

// under merges outer values under inner ones: dictionaries recurse, lists are joined outer first, and
// else the inner value wins.
func under(outer, inner map[string]any) map[string]any {
	out := make(map[string]any, len(outer)+len(inner))
	for k, v := range outer {
		out[k] = v
	}
	for k, v := range inner {
		switch in := v.(type) {
		case map[string]any:
			if o, ok := out[k].(map[string]any); ok {
				out[k] = under(o, in)
				continue
			}
		case []any:
			if o, ok := out[k].([]any); ok {
				out[k] = append(slices.Clone(o), in...)
				continue
			}
		}
		out[k] = v
	}
	return out
}

func canonical(owner *project, name string) string {
	return url.QueryEscape(owner.canon) + "/" + url.QueryEscape(name)
}

// sum is the hash of plain data.
func sum(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("layout: configuration is plain data: " + err.Error())
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// labelHash is the exclusive or of the hashes of a label, its image and its flavor.
func labelHash(label ProviderEntry, images, flavors []ProviderEntry) string {
	out, _ := hex.DecodeString(label.Hash)
	mix := func(list []ProviderEntry, name any) {
		for _, e := range list {
			if e.Name == name {
				h, _ := hex.DecodeString(e.Hash)
				for i := range out {
					out[i] ^= h[i]
				}
			}
		}
	}
	mix(images, label.Config["image"])
	mix(flavors, label.Config["flavor"])
	return hex.EncodeToString(out)
}

// checkImageBuild: a job that builds an image must be attached by the project that defines the image.
func (l *Layout) checkImageBuild(st *stanza, v *Variant, kind string) {
	name := v.ImageBuildName.Value
	for _, d := range l.jobs[v.Name].variants {
		if d.ImageBuildName.Set {
			name = d.ImageBuildName.Value
		}
	}
	if name == "" {
		return
	}
	image := l.providers.images[name]
	if image == nil {
		l.report(v.File, kind, st.Name, v.Span, config.NameUnknown, "The image %q that job %s builds was not found", name, v.Name)
	} else if image.origin != v.project {
		l.report(v.File, kind, st.Name, v.Span, config.NameUnknown,
			"The image %q is defined in %s; only that project may attach job %s, which builds it", name, image.origin.name, v.Name)
	}
}
