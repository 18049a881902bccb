package deps

import (
	"regexp"
	"slices"
	"strings"
)

// kubeCall finds calls of helm and kubectl in a command, up to where the shell goes on.
var kubeCall = regexp.MustCompile(`(?:^|[\s;&|/])(helm|kubectl|oc)((?:\s+(?:"[^"]*"|'[^']*'|[^\s;&|]+))+)`)

// kubeKinds are the kinds of objects by what kubectl also calls them.
var kubeKinds = map[string]string{
	"ns": "Namespace", "namespace": "Namespace", "namespaces": "Namespace", "deploy": "Deployment", "deployment": "Deployment", "deployments": "Deployment",
	"svc": "Service", "service": "Service", "services": "Service", "cm": "ConfigMap", "configmap": "ConfigMap", "configmaps": "ConfigMap", "secret": "Secret", "secrets": "Secret",
	"sts": "StatefulSet", "statefulset": "StatefulSet", "ds": "DaemonSet", "daemonset": "DaemonSet", "ing": "Ingress", "ingress": "Ingress",
	"job": "Job", "cronjob": "CronJob", "sa": "ServiceAccount", "serviceaccount": "ServiceAccount", "crd": "CustomResourceDefinition", "pvc": "PersistentVolumeClaim",
}

// kubeVerbs are commands of kubectl that work on named objects, and what they do.
var kubeVerbs = map[string]Verb{
	"create": Write, "apply": Write, "delete": Write, "patch": Write, "scale": Write, "annotate": Write, "label": Write, "edit": Write, "replace": Write, "set": Write,
	"rollout": Write, "expose": Write, "get": Read, "describe": Read, "wait": Read, "logs": Read, "exec": Read,
}

// kubernetesCommand is what helm and kubectl do: the objects that their words name, in the cluster that they or the
// environment name, and the kubeconfig that they read.
func kubernetesCommand(task *Task, text string, hosts []string) []Access {
	var out []Access
	if len(hosts) == 0 {
		hosts = []string{""} // the executor, or a node that is made for the build
	}
	for _, m := range kubeCall.FindAllStringSubmatch(text, -1) {
		words, flags := kubeWords(m[2])
		args := map[string]any{"context": flags["context"], "kubeconfig": flags["kubeconfig"], "namespace": flags["namespace"]}
		for key, name := range map[string]string{"kubeconfig": "KUBECONFIG", "context": "HELM_KUBECONTEXT"} {
			if args[key] == "" && task.Environment[name] != "" {
				args[key] = task.Environment[name]
			}
		}
		verb := Write
		if m[1] == "helm" {
			if len(words) < 2 || !slices.Contains([]string{"install", "upgrade", "uninstall", "delete", "rollback"}, words[0]) {
				words = nil
			} else {
				args["kind"], args["name"] = "Release", words[1]
			}
		} else {
			verb, args["kind"], args["name"] = kubectl(words)
		}
		if m[1] == "kubectl" && len(task.Objects) > 0 && len(words) > 0 && (words[0] == "apply" || words[0] == "create" || words[0] == "replace") {
			out = append(out, laidDown(task, args, hosts)...)
		}
		for _, h := range hosts {
			if args["kind"] != "" && len(words) > 1 {
				for _, r := range kubernetesObjects(args, h) {
					out = append(out, Access{Resource: r, Verb: verb, Task: task, Weak: true})
				}
			}
			config, _ := args["kubeconfig"].(string)
			if config == "" {
				config = "~/.kube/config"
			}
			out = append(out, Access{Resource: Resource{File, h, config}, Verb: Read, Task: task, Weak: true, Rule: "R9"})
		}
	}
	return out
}

// laidDown are the objects of files that kubectl is given.
func laidDown(task *Task, args map[string]any, hosts []string) []Access {
	var list []any
	for _, o := range task.Objects {
		list = append(list, o)
	}
	args = map[string]any{"definition": list, "context": args["context"], "kubeconfig": args["kubeconfig"], "namespace": args["namespace"]}
	var out []Access
	for _, h := range hosts {
		for _, r := range kubernetesObjects(args, h) {
			out = append(out, Access{Resource: r, Verb: Write, Task: task, Weak: true})
		}
		for _, r := range kubernetesNeeds(args, h) {
			out = append(out, Access{Resource: r, Verb: Read, Task: task, Weak: true})
		}
	}
	return out
}

// kubectl is what its words do with which object; the kind is empty where they name none.
func kubectl(words []string) (verb Verb, kind, name string) {
	if len(words) < 2 || kubeVerbs[words[0]] == "" {
		return "", "", ""
	}
	verb, rest := kubeVerbs[words[0]], words[1:]
	if words[0] == "rollout" || words[0] == "set" {
		if rest[0] == "status" || rest[0] == "history" {
			verb = Read
		}
		rest = rest[1:]
	}
	if len(rest) > 1 && words[0] == "create" && rest[0] == "secret" {
		rest = append([]string{"secret"}, rest[2:]...) // secret generic NAME
	}
	if len(rest) == 0 {
		return "", "", ""
	}
	first, second, slash := strings.Cut(rest[0], "/")
	if !slash && len(rest) > 1 {
		second = rest[1]
	}
	return verb, kubeKinds[strings.ToLower(first)], second
}

// kubeWords are the words of a call that are no options, and the options that say where.
func kubeWords(text string) (words []string, flags map[string]string) {
	flags = map[string]string{}
	names := map[string]string{"-n": "namespace", "--namespace": "namespace", "--kube-context": "context", "--context": "context", "--kubeconfig": "kubeconfig"}
	// Options whose value is the next word.
	values := []string{"-f", "--values", "--set", "--set-string", "--version", "--timeout", "--repo", "-l", "-o", "--selector", "--filename", "-k", "-c", "--container", "-p", "--replicas"}
	fields := strings.Fields(text)
	for i := 0; i < len(fields); i++ {
		w := strings.Trim(fields[i], `"'`)
		if w == "--" {
			break
		}
		if !strings.HasPrefix(w, "-") {
			words = append(words, w)
			continue
		}
		key, value, ok := strings.Cut(w, "=")
		if name := names[key]; name != "" {
			if !ok && i+1 < len(fields) {
				i++
				value = strings.Trim(fields[i], `"'`)
			}
			flags[name] = value
		} else if !ok && slices.Contains(values, key) {
			i++
		}
	}
	return words, flags
}
