"""Renders the tasks of a play for its hosts, as far as that can be done without running anything."""

import json
import os
import re

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.template import Templar

import contents
import kustomize
from lenient import HARMLESS
from names import is_text_template, listed, strings
from says import PROBLEMS, READS, ROOT, first_line, inside, relative
from versions import Encrypted, looped, template, template_text

MAX_ITEMS = 100
LONG = 2000
# Stands in a text for what only a run knows.
GAP = "\ufffd"
# Names that only a run knows.
FACTS = {"ansible_facts", "ansible_local", "ansible_env", "ansible_date_time"}
SAYS_WHERE = {"KUBECONFIG", "K8S_AUTH_KUBECONFIG", "K8S_AUTH_CONTEXT", "K8S_AUTH_HOST", "HELM_KUBECONTEXT", "OS_CLOUD", "DOCKER_HOST"}


def module_name(task):
    return str(task.resolved_action or task.action).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")


class Late(Exception):
    """The value is known only while it runs."""


class PlayState:
    """What is the same for all tasks of a play."""

    def __init__(self, play, hosts, base):
        self.play, self.hosts, self.base = play, hosts, base
        self.roles, self.templars = {}, {}
        # Names that results of tasks give, and facts that are set to something known.
        self.late, self.facts = set(), {}
        self.notified, self.handler = {}, False

    def only(self, hosts, extra):
        """The same play for some of its hosts, with variables of an include."""
        inner = PlayState.__new__(PlayState)
        inner.__dict__.update(self.__dict__)
        inner.hosts = hosts
        inner.extra = {**getattr(self, "extra", {}), **extra}
        return inner

    extra = {}


class Renderer:
    def __init__(self, loader, variables, names):
        self.loader, self.variables, self.names = loader, variables, names
        self.texts = {}

    # Variables.

    def variables_of(self, task, state, host):
        """All variables of a task for a host, with precedence as Ansible's variable manager has it."""
        role = task._role
        if role:
            key = (id(role), host.name)
            if key not in state.roles:
                state.roles[key] = self.role_variables(task, state, host)
            variables = dict(state.roles[key])
        else:
            variables = dict(state.base.get(host.name, {}))
        variables.update(task.get_vars())
        variables.update(state.facts.get(host.name, {}))
        variables.update(state.extra)
        variables.update(self.variables._extra_vars)
        return variables

    def role_variables(self, task, state, host):
        try:
            return self.variables.get_vars(play=state.play, host=host, task=task, include_hostvars=True)
        except AnsibleError as e:
            PROBLEMS.add(f"variables of {host.name}: {first_line(e)}")
            return {}

    def templar(self, state, host, variables):
        if host.name not in state.templars:
            state.templars[host.name] = Templar(loader=self.loader, variables={})
        templar = state.templars[host.name]
        templar.available_variables = variables
        return templar

    def late(self, names, variables, state):
        """A name that only a run knows, of those that an expression uses; empty where there is none."""
        for name in sorted(self.names.closure(names, variables)):
            if name in FACTS or name in state.late or ((name.startswith("ansible_") or name == "zuul") and name not in variables):
                return name
        return ""

    # Tasks.

    def groups(self, task, state, names):
        """The hosts, in groups for which all that the task uses is the same."""
        if not names and not task.loop_with:
            return [state.hosts] if state.hosts else []
        out = {}
        for host in state.hosts:
            variables = self.variables_of(task, state, host)
            key = []
            for name in sorted(self.names.closure(names, variables)):
                value = variables.get(name)
                if name in ("hostvars", "groups", "vars", "omit"):
                    continue
                key.append((name, value if isinstance(value, (str, int, float, bool, type(None))) else id(value)))
            out.setdefault(tuple(key), []).append(host)
        return list(out.values())

    def render(self, task, state, host):
        """What the task does on one host: one result, or one for each item of a loop; none where a
        condition is false whatever happens."""
        variables = self.variables_of(task, state, host)
        templar = self.templar(state, host, variables)
        items = self.items(task, templar, variables, state)
        var = (task.loop_control.loop_var if task.loop_control else None) or "item"
        if items is None:
            yield from self.once(task, state, templar, variables)
            return
        if isinstance(items, Exception):
            variables.pop(var, None)
            inner = state.only(state.hosts, {})
            inner.late = state.late | {var}
            for out in self.once(task, inner, templar, variables):
                out["loop"] = {"unknown": str(items) or type(items).__name__, "raw": str(task.loop)}
                yield out
            return
        index = task.loop_control.index_var if task.loop_control else None
        for number, item in enumerate(items[:MAX_ITEMS]):
            if index:
                variables[index] = number
            for out in self.once(task, state, templar, {**variables, var: item}):
                out["item"] = {var: item}
                yield out

    def once(self, task, state, templar, variables):
        templar.available_variables = variables
        decided = self.decide(task.when, templar, variables, state)
        if decided is False:
            return
        args = {key: self.value(raw, templar, variables, state) for key, raw in task.args.items()}
        out = {"guarded": decided is None}
        if task.delegate_to:
            out["delegate_to"] = self.value(task.delegate_to, templar, variables, state)
        if truth(self.value(task.check_mode, templar, variables, state)):
            out["dry"] = True
        connection = self.value(task.connection or variables.get("ansible_connection") or "", templar, variables, state)
        if connection == "local":
            out["local"] = True
        user = task.become_user or "root" if task.become else task.remote_user or variables.get("ansible_user") or C.DEFAULT_REMOTE_USER or ""
        user = self.value(user, templar, variables, state)
        if isinstance(user, str) and user:
            out["user"] = user
        self.environment(task, args, templar, variables, state, out)
        self.sources(task, args, templar, variables, state, out)
        out["args"] = shorten(args)
        yield out

    def environment(self, task, args, templar, variables, state, out):
        """Variables of the environment that say with which cluster or cloud a task works."""
        found = {}
        for one in listed(task.environment):
            one = self.value(one, templar, variables, state)
            if isinstance(one, dict):
                found.update({k: v for k, v in one.items() if k in SAYS_WHERE and isinstance(v, str)})
        if found:
            out["env"] = found
        if module_name(task).split(".")[-1].startswith(("k8s", "helm")):
            for key, names in (("kubeconfig", ("K8S_AUTH_KUBECONFIG", "KUBECONFIG")), ("context", ("K8S_AUTH_CONTEXT",)), ("host", ("K8S_AUTH_HOST",))):
                value = next((found[n] for n in names if n in found), None)
                if value and not args.get(key):
                    args[key] = value

    def decide(self, conditions, templar, variables, state):
        """True or False where conditions can be decided by what is written; None where a run must."""
        unsure = False
        for condition in listed(conditions):
            if isinstance(condition, bool) or condition in (None, ""):
                if condition is False:
                    return False
                continue
            text = str(condition)
            if self.late(self.names.expression(text), variables, state):
                unsure = True
                continue
            try:
                if is_text_template(text):
                    text = str(template(templar, text))
                said = template(templar, "{% if " + text + " %}yes{% else %}no{% endif %}")
            except Exception:  # filters and tests raise whatever they like
                unsure = True
                continue
            if str(said).strip() != "yes":
                return False
        return None if unsure else True

    def items(self, task, templar, variables, state):
        if task.loop is None and not task.loop_with:
            return None
        try:
            if task.loop_with and task.loop_with not in HARMLESS:
                raise AnsibleError(f"with_{task.loop_with} is not made while reading")
            names, _ = self.names.inside(task.loop)
            late = self.late(names, variables, state)
            if late:
                raise Late(f"{late} is known only while it runs")
            terms = template(templar, task.loop)
            if task.loop_with:
                return looped(templar, self.loader, task.loop_with, terms, variables)
            return terms if isinstance(terms, list) else AnsibleError("the loop is not a list")
        except Exception as e:  # whatever a filter raises is a reason, not an end
            return AnsibleError(first_line(e))

    def value(self, raw, templar, variables, state):
        """A value rendered as deep as can be: what cannot be is marked where it stands."""
        if isinstance(raw, Encrypted):
            return {"unknown": "it is encrypted", "raw": ""}
        if isinstance(raw, dict):
            return {str(k): self.value(v, templar, variables, state) for k, v in raw.items()}
        if isinstance(raw, (list, tuple)):
            return [self.value(v, templar, variables, state) for v in raw]
        if not isinstance(raw, str) or not is_text_template(raw):
            return raw
        late = self.late(self.names.of(raw)[0], variables, state)
        try:
            if late:
                raise Late(f"{late} is known only while it runs")
            return plain(template(templar, raw))
        except Exception as e:  # filters raise whatever they like
            return {"unknown": first_line(e), "raw": str(raw), "partial": self.partial(raw, templar, variables, state)}

    def partial(self, raw, templar, variables, state):
        """A text of which the expressions that can be rendered are: there is a gap for each of the others."""
        def one(match):
            if self.late(self.names.of(match[0])[0], variables, state):
                return GAP
            try:
                return str(template(templar, match[0]))
            except Exception:
                return GAP
        return re.sub(r"\{\{.*?\}\}", one, raw, flags=re.S)

    # Files that tasks send.

    def sources(self, task, args, templar, variables, state, out):
        short = module_name(task).rsplit(".", 1)[-1]
        lookups, raw = [], []
        for text in strings(task.args):
            if is_text_template(text):
                names, _, found = self.names.of(text)
                lookups += found
                lookups += self.names.lookups(names - {"vars", "hostvars", "groups"}, variables)
        if (short in ("copy", "template", "script", "unarchive", "include_vars", "assemble", "patch", "k8s") or short == "synchronize" and not task.delegate_to) and not truth(args.get("remote_src")):
            src = args.get("src") or args.get("_raw_params") or args.get("file") or (args.get("template") if short == "k8s" else None)
            if isinstance(src, dict):
                src = src.get("path")
            if isinstance(src, str) and src:
                folder = "templates" if short == "template" or args.get("template") else "vars" if short == "include_vars" else "files"
                raw.append((folder, src.split()[0] if short == "script" else src))
        for found in lookups:
            if found and str(found[0]).removeprefix("ansible.builtin.") in ("file", "template"):
                folder = "templates" if str(found[0]).endswith("template") else "files"
                raw += [(folder, a) for a in found[1:] if a]
        sent = []
        for folder, src in raw:
            path = self.find(task, folder, src)
            if path:
                READS.below(path, folder)
                sent.append((folder, path))
                if os.path.isdir(path):
                    out["folder"] = True
        if short == "script" and sent:
            out["script"] = self.text(sent[0][1], False, templar)[0][:LONG * 10]
        self.named(args)
        if sent:
            out["sources"] = sorted({relative(p) for _, p in sent})
        if lookups:
            out["lookups"] = sorted({" ".join(str(a) for a in found[:2] if a) for found in lookups if found})
        library = self.library(task)
        if library:
            READS.add(library, "module")
        told = self.contents(task, args, sent, templar, out)
        if told:
            out["contents"] = told

    def named(self, args):
        """Files of the repository that arguments name by whole paths, or that are values of a chart."""
        for text in strings({k: v for k, v in args.items() if k != "content"}):
            for word in text.split() if len(text) < LONG else ():
                word = word.rpartition("=")[2].strip("'\"@,;")
                if word.startswith("/") and inside(os.path.normpath(word)):
                    READS.below(os.path.normpath(word), "named")
        for name in listed(args.get("values_files")):
            for folder in self.folders() if isinstance(name, str) else ():
                READS.below(os.path.normpath(os.path.join(folder, name)), "values")

    def contents(self, task, args, sent, templar, rendered):
        """What the files say that the task lays down."""
        short = module_name(task).rsplit(".", 1)[-1]
        if short == "k8s":
            self.kustomized(task, args, templar)
            self.manifests(args, sent, templar)
            return []
        if short in ("command", "shell"):
            self.applied(args, rendered)
        out = []
        for dest, text in laid(args):
            out.append(contents.study(dest, text) | {"source": relative(sent[0][1]) if sent else ""})
        dest = args.get("dest") or args.get("path")
        if short in ("copy", "template") and isinstance(dest, str) and not isinstance(args.get("content"), str):
            for folder, path in sent:
                raw, text = self.text(path, folder == "templates", templar)
                if text:
                    where = dest + os.path.basename(path).removesuffix(".j2") if dest.endswith("/") else dest
                    out.append(contents.study(where, text, raw) | {"source": relative(path)})
        return out

    def manifests(self, args, sent, templar):
        if isinstance(args.get("definition") or args.get("resource_definition"), str):
            args["definition"] = contents.manifests(args.get("definition") or args.get("resource_definition"))
        elif not args.get("definition"):
            found = []
            for folder, path in sent:
                found += contents.manifests(self.text(path, folder == "templates", templar)[1])
            if found:
                args["definition"] = found

    def kustomized(self, task, args, templar):
        """The lookup of kustomize would run a program: what it would build is read here."""
        raw = task.args.get("definition") or task.args.get("resource_definition")
        found = kustomize.LOOKUP.search(raw) if isinstance(raw, str) else None
        if found:
            try:
                folder = template(templar, "{{ " + found[1] + " }}")
                args["definition"] = [o for path in kustomize.there(str(folder), self.folders()) for o in kustomize.built(path)]
            except Exception:  # filters raise whatever they like: it stays unknown
                return

    def folders(self):
        """Where a command that works with files of the repository is likely to be run."""
        return [ROOT, self.loader.get_basedir()]

    def applied(self, args, out):
        text = args.get("_raw_params") or args.get("cmd") or ""
        text = text.get("partial") or "" if isinstance(text, dict) else str(text)
        if "kubectl" in text or "kustomize" in text or "oc " in text:
            chdir = args.get("chdir")
            found = kustomize.applied(text, [*([chdir] if isinstance(chdir, str) else []), *self.folders()])
            if found:
                out["objects"] = plain(shorten(found))

    def text(self, path, is_template, templar):
        """A file as it is and as it is rendered, as far as it can be."""
        if path not in self.texts:
            try:
                with open(path, encoding="utf-8", errors="replace") as f:
                    self.texts[path] = f.read(1 << 20)
            except OSError:
                self.texts[path] = ""
        raw = self.texts[path]
        if not is_template or not is_text_template(raw):
            return raw, raw
        try:
            return raw, template_text(templar, raw)
        except Exception as e:  # facts and the like: what stands on lines that can be rendered is known all the same
            if not self.names.parses(raw):
                PROBLEMS.add(f"the template does not parse: {first_line(e)}", path)
                return raw, ""
        lines = []
        for line in raw.splitlines():
            if "{%" in line or "/" not in line and ":" not in line and "-" not in line:
                continue
            try:
                lines.append(template_text(templar, line) if "{{" in line else line)
            except Exception:
                continue
        return raw, "\n".join(lines)

    def find(self, task, folder, src):
        if src.startswith("/"):
            return src if inside(src) and os.path.exists(src) else ""
        try:
            return self.loader.path_dwim_relative_stack(task.get_search_path(), folder, src)
        except AnsibleError:
            return ""

    def library(self, task):
        for folder in [*(C.DEFAULT_MODULE_PATH or []), os.path.join(ROOT, "playbooks", "library"), os.path.join(ROOT, "library")]:
            for suffix in (".py", ""):
                path = os.path.join(folder, module_name(task) + suffix)
                if path.startswith(ROOT + os.sep) and os.path.isfile(path):
                    return path
        return ""

    def template_names(self, task):
        """The names that a task's templates use; None where which template it is depends on the host."""
        used = set()
        short = module_name(task).rsplit(".", 1)[-1]
        wanted = []
        if short in ("template", "k8s"):
            src = task.args.get("src") or task.args.get("template")
            if isinstance(src, str):
                if is_text_template(src):
                    return None
                wanted.append(src)
        for text in strings(task.args):
            if is_text_template(text):
                for found in self.names.of(text)[2]:
                    if found and str(found[0]).endswith("template"):
                        if None in found:
                            return None
                        wanted += found[1:]
        for src in wanted:
            path = self.find(task, "templates", str(src))
            if path and os.path.isfile(path):
                names, others, _ = self.names.of(self.text(path, False, None)[0])
                used |= names | others
        return used


def laid(args):
    """Pairs of path and content that arguments carry, at whatever depth."""
    if not isinstance(args, dict):
        return
    dest = next((args[k] for k in ("dest", "path") if isinstance(args.get(k), str)), "")
    for key in ("content", "block", "line"):
        if dest and isinstance(args.get(key), str):
            yield dest, args[key]
    for value in args.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from laid(one)


def truth(value):
    return str(value).lower() in ("true", "yes", "1", "on")


def plain(value):
    """Values as JSON has them; what is none of these is its text."""
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError):
        return str(value)


def shorten(value):
    """Long texts are content, which is not needed beyond its beginning."""
    if isinstance(value, str):
        return value if len(value) <= LONG else value[:LONG]
    if isinstance(value, dict):
        return {k: shorten(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shorten(v) for v in value]
    return value
