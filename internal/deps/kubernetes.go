package deps

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// kubernetes is R6 (one object), R6b (a namespace and what is in it) and R14 (an admission controller).
func (a *Analysis) kubernetes(m meeting) {
	cx, _, kx, nx := object(m.x.Resource)
	cy, ny, ky, _ := object(m.y.Resource)
	if cx != cy || m.x.Verb == Read {
		return
	}
	best := High
	if strings.HasSuffix(cx, "@") {
		best = Medium // which cluster is not said: that of secrets, which may be others for each job
		if a.elsewhere(m.a, m.b) {
			return
		}
	}
	switch {
	case m.x.Resource == m.y.Resource && m.y.Verb == Read:
		if !a.also(m.b, m.y.Resource) {
			a.order("R6", certain(best, m.x, m.y), need(m.y), m, "%s makes %s, which %s reads", m.a, m.x.Resource, m.b)
		}
	case m.x.Resource == m.y.Resource:
		if m.a < m.b {
			conf := certain(best, m.x, m.y)
			if same(m.x.Task, m.y.Task) {
				conf = Low
			}
			a.mutex("R6", conf, Torn, m, "both write %s", m.x.Resource)
		}
	case (kx == "Namespace" || kx == "Project") && nx == ny && ky != kx && !absent(m.x.Task):
		if !a.written[m.b][m.x.Resource] {
			a.order("R6b", certain(best, m.x, m.y), need(m.y), m, "%s makes the namespace %s, in which %s has %s", m.a, nx, m.b, m.y.Resource)
		}
	case strings.HasSuffix(kx, "WebhookConfiguration") && !strings.HasSuffix(ky, "WebhookConfiguration") && m.y.Verb != Read:
		a.order("R14", Low, Bootstrap, m, "%s sets up an admission controller that may have to accept %s of %s", m.a, m.y.Resource, m.b)
	}
}

// elsewhere reports whether two jobs are told to work in different places: a variable that both have is another for each,
// and does not only name what they run.
func (a *Analysis) elsewhere(x, y string) bool {
	one, other := a.Job(x), a.Job(y)
	for name, value := range one.Vars {
		if there, ok := other.Vars[name]; ok && there != value && !one.runs(value) && !other.runs(there) {
			return true
		}
	}
	return false
}

// runs reports whether a variable's value names a playbook of the job.
func (j *Job) runs(value string) bool {
	word := strings.Trim(value, `"`)
	return slices.ContainsFunc(j.Playbooks, func(p string) bool {
		return word == p || strings.HasSuffix(p, "/"+word) || strings.TrimSuffix(path.Base(p), path.Ext(p)) == path.Base(word)
	})
}

// object takes the name of a Kubernetes resource apart.
func object(r Resource) (context, namespace, kind, name string) {
	context, rest, _ := strings.Cut(r.Name, ":")
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return context, "", "", ""
	}
	return context, parts[0], parts[1], parts[2]
}

// kubernetesObjects names the objects of k8s and helm arguments: context, namespace, kind, name.
// Where no context says which cluster, it is that of the host's kubeconfig.
func kubernetesObjects(args map[string]any, host string) []Resource {
	text := textOf
	at := cluster(args, host)
	var out []Resource
	for _, m := range definitions(args) {
		meta, _ := m["metadata"].(map[string]any)
		kind, name := text(m, "kind"), text(m, "name")
		ns := text(m, "namespace", "release_namespace")
		if meta != nil {
			name, ns = text(meta, "name"), cmp.Or(text(meta, "namespace"), text(args, "namespace"))
		}
		if r := text(m, "release_name"); r != "" {
			name = r
		}
		if kind == "" && text(m, "release_namespace") != "" {
			kind = "Release"
		}
		if kind == "" || name == "" {
			continue
		}
		out = append(out, Resource{Kubernetes, "", at + ":" + ns + "/" + kind + "/" + name})
		if kind, name := kubernetesGives(m); kind != "" {
			out = append(out, Resource{Kubernetes, "", at + ":/" + kind + "/" + name})
		}
		if kind == "Release" && (m["create_namespace"] == true || m["create_namespace"] == "true") {
			out = append(out, Resource{Kubernetes, "", at + ":/Namespace/" + ns})
		}
	}
	return out
}

// textOf is the first of some texts in a map that is there.
func textOf(m map[string]any, keys ...string) string {
	for _, k := range keys {
		if s, ok := m[k].(string); ok {
			return s
		}
	}
	return ""
}

// cluster says which cluster arguments mean: the context, or the address, else the kubeconfig on a host.
func cluster(args map[string]any, host string) string {
	if at := textOf(args, "context", "host"); at != "" {
		return at
	}
	return textOf(args, "kubeconfig") + "@" + host
}

// definitions are the objects that arguments carry; the arguments themselves where they name one.
func definitions(args map[string]any) []map[string]any {
	switch d := args["definition"].(type) {
	case map[string]any:
		return []map[string]any{d}
	case []any:
		var out []map[string]any
		for _, e := range d {
			if m, ok := e.(map[string]any); ok {
				out = append(out, m)
			}
		}
		return out
	}
	return []map[string]any{args}
}

// ingresses are the names under which objects are reached from outside: hosts of an Ingress, a Route, an HTTPRoute.
func ingresses(args map[string]any) []string {
	var out []string
	for _, m := range definitions(args) {
		spec, _ := m["spec"].(map[string]any)
		if spec == nil {
			continue
		}
		switch m["kind"] {
		case "Ingress":
			rules, _ := spec["rules"].([]any)
			for _, r := range rules {
				if rule, ok := r.(map[string]any); ok {
					out = append(out, lookup(rule, "host")...)
				}
			}
		case "Route":
			out = append(out, lookup(spec, "host")...)
		case "HTTPRoute":
			out = append(out, lookup(spec, "hostnames")...)
		}
	}
	return out
}
