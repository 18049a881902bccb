package deps

import (
	"cmp"
	"strings"
)

// kubernetesNeeds are the objects that those of the arguments need: what a pod takes its settings from, what an Ingress
// leads to, the class or the issuer that it names, the definition of a kind of its own.
func kubernetesNeeds(args map[string]any, host string) []Resource {
	at := cluster(args, host)
	var out []Resource
	add := func(namespace, kind, name string) {
		if name != "" {
			out = append(out, Resource{Kubernetes, "", at + ":" + namespace + "/" + kind + "/" + name})
		}
	}
	for _, m := range definitions(args) {
		meta, _ := m["metadata"].(map[string]any)
		kind, _ := m["kind"].(string)
		ns := cmp.Or(textOf(meta, "namespace"), textOf(args, "namespace"))
		if meta == nil {
			if ns, _ = m["release_namespace"].(string); ns != "" {
				values(m["values"], func(kind, name string) { add(ns, kind, name) })
				values(m["release_values"], func(kind, name string) { add(ns, kind, name) })
			}
			continue
		}
		if group, own := customGroup(m); own && kind != "" {
			add("", "CustomResourceDefinition", kind+" of "+group)
		}
		notes, _ := meta["annotations"].(map[string]any)
		issuer, _ := notes["cert-manager.io/cluster-issuer"].(string)
		add("", "ClusterIssuer", issuer)
		issuer, _ = notes["cert-manager.io/issuer"].(string)
		add(ns, "Issuer", issuer)
		spec, _ := m["spec"].(map[string]any)
		switch kind {
		case "Ingress":
			class, _ := spec["ingressClassName"].(string)
			add("", "IngressClass", class)
			walk(spec["rules"], func(key string, v map[string]any) {
				if name, _ := v["name"].(string); key == "service" {
					add(ns, "Service", name)
				}
			})
		case "Certificate":
			ref, _ := spec["issuerRef"].(map[string]any)
			name, _ := ref["name"].(string)
			if ref["kind"] == "ClusterIssuer" {
				add("", "ClusterIssuer", name)
			} else {
				add(ns, "Issuer", name)
			}
		case "Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet":
			pod(spec, func(kind, name string) { add(ns, kind, name) })
		}
	}
	return out
}

// pod finds what the containers of a pod take their settings from.
func pod(spec map[string]any, add func(kind, name string)) {
	walk(spec, func(key string, v map[string]any) {
		name, _ := v["name"].(string)
		if v["optional"] == true {
			return
		}
		switch key {
		case "configMapRef", "configMapKeyRef", "configMap":
			add("ConfigMap", name)
		case "secretRef", "secretKeyRef":
			add("Secret", name)
		case "secret":
			name, _ = v["secretName"].(string)
			add("Secret", name)
		case "persistentVolumeClaim":
			name, _ = v["claimName"].(string)
			add("PersistentVolumeClaim", name)
		}
	})
}

// values finds secrets and maps that values of a chart name as there already.
func values(v any, add func(kind, name string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			name, ok := inner.(string)
			switch {
			case ok && strings.HasPrefix(key, "existingSecret"):
				add("Secret", name)
			case ok && (key == "existingConfigMap" || key == "existingConfigmap"):
				add("ConfigMap", name)
			default:
				values(inner, add)
			}
		}
	case []any:
		for _, e := range v {
			values(e, add)
		}
	}
}

// walk calls f for each object below a value, with the key that it stands at.
func walk(v any, f func(key string, v map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if m, ok := inner.(map[string]any); ok {
				f(key, m)
			}
			walk(inner, f)
		}
	case []any:
		for _, e := range v {
			walk(e, f)
		}
	}
}

// customGroup is the group of an object's version, where that is not one of Kubernetes itself.
func customGroup(m map[string]any) (string, bool) {
	version, _ := m["apiVersion"].(string)
	group, _, ok := strings.Cut(version, "/")
	return group, ok && strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io")
}

// kubernetesGives are objects that come with those of the arguments: the kind that a definition defines, the class that
// values of a chart name.
func kubernetesGives(m map[string]any) (kind, name string) {
	spec, _ := m["spec"].(map[string]any)
	if m["kind"] == "CustomResourceDefinition" {
		names, _ := spec["names"].(map[string]any)
		kind, _ := names["kind"].(string)
		group, _ := spec["group"].(string)
		if kind != "" && group != "" {
			return "CustomResourceDefinition", kind + " of " + group
		}
	}
	for _, key := range []string{"values", "release_values"} {
		name := ""
		walk(m[key], func(key string, v map[string]any) {
			if key == "ingressClassResource" {
				name, _ = v["name"].(string)
			}
		})
		if name != "" {
			return "IngressClass", name
		}
	}
	return "", ""
}
