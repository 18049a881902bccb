"""Reads Ansible content and tells, in JSON lines, what its tasks would do.

Standard input: one JSON object,

    {"root": "/checkout", "inventory": ["inventory/hosts.yaml"], "hosts": {"bridge": ["group"]},
     "inventory_seconds": 20, "seconds": 60,
     "playbooks": [{"id": "job-a", "path": "playbooks/a.yaml", "vars": {}}]}

Standard output, one object a line, each with a "kind":

    inventory   hosts with their groups, and the files that define variables: {file: {key: line}}
    play        the pattern of hosts of a play, and the hosts that it selects
    playbook    the end of one playbook, with the files that it read and the variables that it used
    task        one task with rendered arguments, for the hosts for which they are the same
    problem     something that could not be read, and why; the rest goes on

Nothing is run on any host. Lookups that would run something, ask the network or read outside of the
repository are not made; what depends on them, on facts or on results of tasks is unknown, with the
reason: {"unknown": "why", "raw": "{{ text }}"}.
"""

import json
import os
import re
import signal
import sys
import traceback


def emit(kind, **fields):
    print(json.dumps({"kind": kind, **fields}, default=str), file=OUT, flush=True)


# Whatever Ansible prints goes to standard error: standard output has our lines only.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
REQUEST = json.loads(sys.stdin.read())
ROOT = os.path.realpath(REQUEST["root"])
os.chdir(ROOT)
CONFIG = os.path.join(ROOT, "ansible.cfg")
os.environ["ANSIBLE_CONFIG"] = CONFIG if os.path.exists(CONFIG) else os.devnull
os.environ.update(ANSIBLE_NOCOLOR="1", ANSIBLE_DEPRECATION_WARNINGS="0", ANSIBLE_LOCALHOST_WARNING="0",
                  ANSIBLE_FORCE_COLOR="0", ANSIBLE_HOME=os.environ.get("ANSIBLE_HOME", os.path.join(os.environ.get("TMPDIR", "/tmp"), "gozer-deps-ansible")),
                  ANSIBLE_INVENTORY_UNPARSED_WARNING="0", ANSIBLE_LOG_PATH=os.devnull,
                  ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS="ignore")

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.parsing.vault import is_encrypted
from ansible.parsing.yaml.objects import AnsibleVaultEncryptedUnicode
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.handler_task_include import HandlerTaskInclude
from ansible.playbook.helpers import load_list_of_blocks
from ansible.playbook.role.definition import RoleDefinition
from ansible.playbook.role_include import IncludeRole
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from jinja2 import meta, nodes

context.CLIARGS = ImmutableDict(
    syntax=True, check=True, diff=False, verbosity=0, start_at_task=None, tags=("all",), skip_tags=(),
    connection="ssh", become=False, become_method="sudo", become_user=None, remote_user=None, forks=1,
    private_key_file=None, timeout=10, subset=None, basedir=ROOT,
)
init_plugin_loader()

# Lookups that look at nothing but the repository and the variables.
HARMLESS = {"file", "template", "vars", "dict", "items", "list", "indexed_items", "nested", "flattened",
            "together", "sequence", "subelements", "fileglob", "first_found", "filetree", "lines_none",
            "varnames", "random_choice_none", "inventory_hostnames", "cartesian", "dict2items"}
MAX_ITEMS = 200


class Problems:
    """What could not be read while one playbook was; each is told once."""

    def __init__(self):
        self.seen = set()
        self.playbook = ""

    def add(self, text, file="", line=0):
        text = " ".join(str(text).split())
        key = (self.playbook, text, file)
        if key not in self.seen:
            self.seen.add(key)
            emit("problem", playbook=self.playbook, text=text, file=relative(file), line=line)


PROBLEMS = Problems()


class Reads:
    """The files that the content being read came from."""

    def __init__(self):
        self.files = {}

    def add(self, path, why):
        path = relative(path)
        if path and not path.startswith(("/", "..")):
            self.files.setdefault(path, why)


READS = Reads()


def relative(path):
    if not path:
        return ""
    path = str(path)
    return os.path.relpath(path, ROOT) if path.startswith(ROOT + os.sep) else path


class Timeout(Exception):
    pass


def limited(seconds, what, f, *args):
    """Runs f, and gives up after some seconds."""
    def ring(*_):
        raise Timeout(f"{what} took more than {seconds} s")
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(int(seconds))
    try:
        return f(*args)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


class Loader(DataLoader):
    """An encrypted file is empty, and told of."""

    def _decrypt_if_vault_data(self, b_vault_data, b_file_name=None):
        if is_encrypted(b_vault_data):
            name = os.fsdecode(b_file_name) if b_file_name else ""
            PROBLEMS.add(f"{relative(name)} is encrypted; what it defines is unknown", name)
            return b"{}", False
        return b_vault_data, True


def lenient_parse(original):
    """A module that is not installed is still a task: its arguments can be read."""
    def parse(self, skip_action_validation=False):
        try:
            return original(self, skip_action_validation)
        except AnsibleParserError as e:
            if "couldn't resolve module/action" not in str(e):
                raise
            name = re.search(r"module/action '([^']+)'", str(e))
            name = name[1] if name else "?"
            PROBLEMS.add(f"module {name} is not installed; it is taken by its name")
            return original(self, True)
    return parse


ModuleArgsParser.parse = lenient_parse(ModuleArgsParser.parse)
EMPTY_ROLE = os.path.join(os.environ["ANSIBLE_HOME"], "empty-role")
os.makedirs(EMPTY_ROLE, exist_ok=True)


def lenient_role(original):
    """A role that is not in the repository is empty, and told of."""
    def load(self, role_name):
        try:
            return original(self, role_name)
        except AnsibleError as e:
            if "was not found" not in str(e):
                raise
            PROBLEMS.add(f"role {role_name} is not in this repository; what it does is unknown")
            EXTERNAL.append(str(role_name))
            return str(role_name), EMPTY_ROLE
    return load


EXTERNAL = []
RoleDefinition._load_role_path = lenient_role(RoleDefinition._load_role_path)


class Names:
    """Which variables a text uses, by Jinja's own parser, and which lookups."""

    def __init__(self, templar):
        self.env = templar.environment
        self.cache = {}

    def of(self, text):
        if text not in self.cache:
            self.cache[text] = self.parse(text)
        return self.cache[text]

    def parse(self, text):
        try:
            tree = self.env.parse(text)
        except Exception:
            return frozenset(), ()
        used = set(meta.find_undeclared_variables(tree))
        for node in tree.find_all(nodes.Getitem):
            # hostvars[x].name and groups[x] use the name of the attribute too.
            if isinstance(node.node, nodes.Name) and node.node.name == "hostvars":
                used.add("hostvars")
        for node in tree.find_all(nodes.Getattr):
            if isinstance(node.node, nodes.Getitem) and isinstance(node.node.node, nodes.Name) and node.node.node.name == "hostvars":
                used.add(node.attr)
        lookups = []
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in ("lookup", "query", "q"):
                args = [a.value if isinstance(a, nodes.Const) else None for a in call.args]
                lookups.append(args)
        return frozenset(used), tuple(tuple(a) for a in lookups)

    def inside(self, value):
        """The names used anywhere in a structure."""
        used, lookups = set(), []
        for text in strings(value):
            if is_text_template(text):
                u, l = self.of(text)
                used |= u
                lookups += l
        return used, lookups


def is_text_template(text):
    return "{{" in text or "{%" in text


def strings(value):
    if isinstance(value, AnsibleVaultEncryptedUnicode):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from strings(k)
            yield from strings(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from strings(v)


def guard_lookups(templar):
    """Replaces the ways to a lookup in a templar's environment by one that makes only harmless ones."""
    for name in ("lookup", "query", "q"):
        original = templar.environment.globals.get(name)

        def call(which, *args, _original=original, **kwargs):
            short = str(which).removeprefix("ansible.builtin.")
            if short not in HARMLESS:
                raise AnsibleError(f"lookup {short} is not made while reading")
            if short in ("file", "template", "fileglob"):
                for a in args:
                    if str(a).startswith("/") and not str(a).startswith(ROOT + os.sep):
                        raise AnsibleError(f"{a} is outside of the repository")
                    if str(a).startswith("/"):
                        READS.add(os.path.realpath(str(a)), "files")
            return _original(which, *args, **kwargs)
        templar.environment.globals[name] = call


class Reader:
    def __init__(self):
        self.loader = Loader()
        self.loader.set_basedir(ROOT)
        self.inventory = self.load_inventory()
        self.variables = VariableManager(loader=self.loader, inventory=self.inventory)
        self.names = Names(Templar(loader=self.loader))

    def load_inventory(self):
        """Sources are loaded one by one, so that one that hangs does not take the others along."""
        good = []
        for source in REQUEST.get("inventory", []):
            try:
                if not os.path.exists(os.path.join(ROOT, source)):
                    PROBLEMS.add(f"the inventory {source} is not there")
                    continue
                seconds = REQUEST.get("inventory_seconds", 20)
                limited(seconds, f"the inventory {source}",
                        lambda: InventoryManager(loader=self.loader, sources=[os.path.join(ROOT, source)]))
                good.append(os.path.join(ROOT, source))
            except (AnsibleError, Timeout) as e:
                PROBLEMS.add(f"inventory {source}: {e}", source)
        inventory = InventoryManager(loader=self.loader, sources=good or None)
        for host, groups in REQUEST.get("hosts", {}).items():
            # Nodes of the nodeset, which the inventory of the repository may not have.
            if not inventory.get_host(host):
                inventory.add_host(host)
            for group in groups:
                inventory.add_group(group)
                inventory.add_host(host, group)
        return inventory

    def tell_inventory(self):
        hosts = {h.name: sorted(g.name for g in h.get_groups()) for h in self.inventory.get_hosts()}
        files = {}
        # Without hosts there would be nothing to tell them apart by.
        for folder, _, names in sorted(os.walk(ROOT)):
            parts = relative(folder).split(os.sep)
            if ".git" in parts:
                continue
            for name in sorted(names):
                if not ("group_vars" in parts or "host_vars" in parts or parts[-1] in ("defaults", "vars")):
                    continue
                if name.endswith((".yaml", ".yml", ".json")) or "." not in name:
                    keys = self.keys(os.path.join(folder, name))
                    if keys is not None:
                        files[relative(os.path.join(folder, name))] = keys
        emit("inventory", hosts=hosts, files=files)

    def keys(self, path):
        """The top-level keys of a file of variables with their lines, and what their values use."""
        try:
            data = self.loader.load_from_file(path, cache=True)
        except AnsibleError as e:
            PROBLEMS.add(f"{relative(path)}: {first_line(e)}", path)
            return None
        if not isinstance(data, dict):
            return {}
        out = {}
        for k, v in data.items():
            pos = getattr(k, "ansible_pos", None)
            used, _ = self.names.inside(v)
            out[str(k)] = {"line": pos[1] if pos else 0, "uses": sorted(used)}
        return out

    def read(self, request):
        PROBLEMS.playbook = request["id"]
        READS.files.clear()
        EXTERNAL.clear()
        self.used = set()
        self.request = request
        path = os.path.join(ROOT, request["path"])
        if not os.path.exists(path):
            PROBLEMS.add(f"the playbook {request['path']} is not there", path)
            emit("playbook", id=request["id"], path=request["path"], reads={}, uses=[], external=[], ok=False)
            return
        self.variables._extra_vars = dict(request.get("vars") or {})
        ok = True
        try:
            limited(REQUEST.get("seconds", 60), f"reading {request['path']}", self.playbook, path)
        except Timeout as e:
            ok = False
            PROBLEMS.add(str(e), path)
        except AnsibleError as e:
            ok = False
            obj = getattr(e, "obj", None) or getattr(e, "_obj", None)
            pos = getattr(obj, "ansible_pos", None)
            PROBLEMS.add(first_line(e), pos[0] if pos else path, pos[1] if pos else 0)
        except RecursionError:
            ok = False
            PROBLEMS.add("the content includes itself", path)
        emit("playbook", id=request["id"], path=request["path"], reads=READS.files, uses=sorted(self.used),
             external=sorted(set(EXTERNAL)), ok=ok)

    def playbook(self, path):
        READS.add(path, "playbook")
        book = Playbook.load(path, variable_manager=self.variables, loader=self.loader)
        for play in book.get_plays():
            self.play(play)

    def play(self, play):
        pos = getattr(play._ds, "ansible_pos", None) if getattr(play, "_ds", None) is not None else None
        if pos:
            READS.add(pos[0], "play")
        hosts = self.hosts(play)
        emit("play", playbook=self.request["id"], name=play.get_name(), pattern=str(play._ds.get("hosts", "")) if isinstance(play._ds, dict) else "",
             hosts=[h.name for h in hosts], file=relative(pos[0]) if pos else "", line=pos[1] if pos else 0)
        self.note(play.hosts)
        for item in play.get_vars().values():
            self.note(item)
        for name in play.vars_files or []:
            for one in name if isinstance(name, list) else [name]:
                found = os.path.join(os.path.dirname(pos[0]) if pos else ROOT, str(one))
                READS.add(found if os.path.exists(found) else os.path.join(ROOT, str(one)), "vars_files")
        base = {}
        for host in hosts:
            try:
                base[host.name] = self.variables.get_vars(play=play, host=host, include_hostvars=True)
            except AnsibleError as e:
                PROBLEMS.add(f"variables of {host.name}: {first_line(e)}")
                base[host.name] = {"inventory_hostname": host.name}
        state = PlayState(play, hosts, base, "")
        for block in play.compile():
            self.block(block, state, 0)
        state.handler = True
        for block in play.handlers:
            self.block(block, state, 0)
        for role in play.roles:
            for block in role.get_handler_blocks(play):
                self.block(block, state, 0)

    def hosts(self, play):
        pattern = play.hosts
        templar = Templar(loader=self.loader, variables=self.variables.get_vars(play=play))
        guard_lookups(templar)
        try:
            pattern = templar.template(pattern)
        except AnsibleError as e:
            PROBLEMS.add(f"hosts of the play {play.get_name()} are unknown: {first_line(e)}")
            return []
        found = self.inventory.get_hosts(pattern)
        if not found:
            PROBLEMS.add(f"no host of the inventory matches {pattern}")
        return found

    def note(self, value):
        used, lookups = self.names.inside(value)
        self.used |= used
        return used, lookups

    def block(self, block, state, depth):
        for item in [*block.block, *block.rescue, *block.always]:
            if isinstance(item, Block):
                self.block(item, state, depth)
            else:
                self.task(item, state, depth)

    def task(self, task, state, depth):
        pos = getattr(task.get_ds(), "ansible_pos", None)
        file, line = (pos[0], pos[1]) if pos else ("", 0)
        READS.add(file, "tasks")
        if task._role:
            self.role_files(task._role)
        if task.action == "meta" or task.action.endswith(".meta"):
            return
        self.note(task.args)
        for attr in ("when", "environment", "vars", "loop", "delegate_to", "until", "changed_when", "failed_when"):
            self.note_expression(getattr(task, attr, None), attr)
        if isinstance(task, (TaskInclude, IncludeRole)) and not getattr(task, "statically_loaded", False):
            self.include(task, state, file, line, depth)
            return
        groups = {}
        for host in state.hosts:
            for rendered in self.render(task, state, host):
                key = json.dumps(rendered, sort_keys=True, default=str)
                groups.setdefault(key, (rendered, []))[1].append(host.name)
            if not self.varies(task):
                # Nothing in it depends on a variable: it is the same on every host.
                groups[key][1][:] = [h.name for h in state.hosts]
                break
        name = task.get_name()
        for rendered, hosts in groups.values():
            emit("task", playbook=self.request["id"], play=state.play.get_name(), name=name, module=module_name(task),
                 hosts=hosts, file=relative(file), line=line, role=task._role.get_name() if task._role else "",
                 handler=state.handler or isinstance(task, Handler), when=[str(w) for w in task.when or []],
                 notify=[str(n) for n in task.notify or []], register=task.register or "",
                 tolerant=bool(task.ignore_errors) or any(str(f).lower() == "false" for f in task.failed_when or []), changed_when=[str(c) for c in task.changed_when or []],
                 become=bool(task.become), **rendered)

    def note_expression(self, value, attr):
        if attr in ("when", "until", "changed_when", "failed_when"):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and text:
                    used, _ = self.names.of("{{ " + text + " }}")
                    self.used |= used
        elif value:
            self.note(value)

    def varies(self, task):
        for value in (task.args, task.delegate_to, task.loop, task.environment, task.vars):
            if any(is_text_template(s) for s in strings(value)):
                return True
        return task.loop_with is not None

    def role_files(self, role):
        path = role._role_path
        for part in ("defaults", "vars", "meta"):
            folder = os.path.join(path, part)
            if os.path.isdir(folder):
                for f in sorted(os.listdir(folder)):
                    READS.add(os.path.join(folder, f), "role " + part)

    def templar(self, task, state, host):
        variables = dict(state.base.get(host.name, {}))
        role = task._role
        if role:
            key = (id(role), host.name)
            if key not in state.roles:
                try:
                    state.roles[key] = self.variables.get_vars(play=state.play, host=host, task=task, include_hostvars=True)
                except AnsibleError as e:
                    PROBLEMS.add(f"variables of {host.name}: {first_line(e)}")
                    state.roles[key] = {}
            variables = dict(state.roles[key])
        variables.update(task.get_vars())
        variables.update(state.extra)
        variables.update(self.variables._extra_vars)
        templar = Templar(loader=self.loader, variables=variables)
        guard_lookups(templar)
        return templar

    def render(self, task, state, host):
        """The arguments for one host: one result, or one for each item of a loop."""
        templar = self.templar(task, state, host)
        items = self.items(task, templar)
        var = task.loop_control.loop_var if task.loop_control else "item"
        if items is None:
            yield self.render_once(task, state, templar)
            return
        if isinstance(items, Exception):
            templar.available_variables.pop(var, None)
            out = self.render_once(task, state, templar)
            out["loop"] = {"unknown": first_line(items), "raw": str(task.loop)}
            yield out
            return
        for item in items[:MAX_ITEMS]:
            templar.available_variables = {**templar.available_variables, var: item}
            yield self.render_once(task, state, templar)

    def items(self, task, templar):
        if task.loop is None and not task.loop_with:
            return None
        try:
            if task.loop_with and task.loop_with not in HARMLESS:
                raise AnsibleError(f"with_{task.loop_with} is not made while reading")
            if task.loop_with:
                from ansible.plugins.loader import lookup_loader
                terms = templar.template(task.loop, fail_on_undefined=True)
                if not isinstance(terms, list):
                    terms = [terms]
                plugin = lookup_loader.get(task.loop_with, loader=self.loader, templar=templar)
                return plugin.run(terms, variables=templar.available_variables)
            items = templar.template(task.loop, fail_on_undefined=True)
            return items if isinstance(items, list) else AnsibleError("the loop is not a list")
        except Exception as e:  # whatever a filter raises is a reason, not an end
            return e

    def render_once(self, task, state, templar):
        args = {}
        for key, raw in task.args.items():
            args[key] = self.value(raw, templar)
        out = {"args": shorten(args)}
        if task.delegate_to:
            out["delegate_to"] = self.value(task.delegate_to, templar)
        self.sources(task, args, templar, out)
        return out

    def value(self, raw, templar):
        """A value rendered as deep as can be: what cannot be is marked where it stands."""
        if isinstance(raw, AnsibleVaultEncryptedUnicode):
            return {"unknown": "it is encrypted", "raw": ""}
        if isinstance(raw, dict):
            return {str(k): self.value(v, templar) for k, v in raw.items()}
        if isinstance(raw, (list, tuple)):
            return [self.value(v, templar) for v in raw]
        if not isinstance(raw, str) or not is_text_template(raw):
            return raw
        try:
            return templar.template(raw, fail_on_undefined=True)
        except Exception as e:  # filters raise whatever they like
            return {"unknown": first_line(e), "raw": str(raw), "prefix": self.prefix(raw, templar)}

    def prefix(self, raw, templar):
        """The part before the first expression that cannot be rendered."""
        out = ""
        for part in re.split(r"(\{\{.*?\}\})", raw):
            if not part.startswith("{{"):
                if "{%" in part:
                    break
                out += part
                continue
            try:
                out += str(templar.template(part, fail_on_undefined=True))
            except Exception:
                break
        return out

    def sources(self, task, args, templar, out):
        """Files of the repository that the task sends, and what templates among them use."""
        short = module_name(task).rsplit(".", 1)[-1]
        raw, lookups = [], []
        for text in strings(task.args):
            if is_text_template(text):
                lookups += self.names.of(text)[1]
        if short in ("copy", "template", "script", "unarchive", "include_vars", "assemble", "patch") and not args.get("remote_src"):
            src = args.get("src") or args.get("_raw_params") or args.get("file")
            if isinstance(src, str) and src:
                raw.append(("templates" if short == "template" else "vars" if short == "include_vars" else "files", src.split()[0] if short == "script" else src, short == "template"))
        for l in lookups:
            if l and str(l[0]).removeprefix("ansible.builtin.") in ("file", "template"):
                is_template_lookup = str(l[0]).endswith("template")
                for a in l[1:]:
                    if a:
                        raw.append(("templates" if is_template_lookup else "files", a, is_template_lookup))
        found = []
        for folder, src, is_tmpl in raw:
            path = self.find(task, folder, src)
            if not path:
                continue
            found.append(relative(path))
            READS.add(path, folder)
            if os.path.isdir(path):
                for base, _, names in os.walk(path):
                    for n in names:
                        READS.add(os.path.join(base, n), folder)
            elif is_tmpl:
                self.template_uses(path)
        if found:
            out["sources"] = sorted(set(found))
        if lookups:
            out["lookups"] = sorted({".".join(str(a) for a in l[:1]) + ((" " + str(l[1])) if len(l) > 1 and l[1] else "") for l in lookups if l})
        library = self.library(task)
        if library:
            READS.add(library, "module")

    def find(self, task, folder, src):
        if src.startswith("/"):
            return src if src.startswith(ROOT) and os.path.exists(src) else ""
        try:
            stack = task.get_search_path()
            return self.loader.path_dwim_relative_stack(stack, folder, src)
        except AnsibleError:
            return ""

    def template_uses(self, path):
        if path in TEMPLATES:
            self.used |= TEMPLATES[path]
            return
        try:
            with open(path, errors="replace") as f:
                text = f.read()
        except OSError:
            return
        used, _ = self.names.of(text)
        TEMPLATES[path] = set(used)
        self.used |= used

    def library(self, task):
        for folder in [*(C.DEFAULT_MODULE_PATH or []), os.path.join(ROOT, "playbooks", "library"), os.path.join(ROOT, "library")]:
            for suffix in (".py", ""):
                path = os.path.join(folder, module_name(task) + suffix)
                if path.startswith(ROOT + os.sep) and os.path.isfile(path):
                    return path
        return ""

    def include(self, task, state, file, line, depth):
        """A dynamic include whose target can be rendered is read like a static one."""
        if depth > 12:
            PROBLEMS.add("includes are nested too deeply", file, line)
            return
        done = set()
        for host in state.hosts or []:
            for rendered in self.render(task, state, host):
                args = rendered["args"]
                target = args.get("name") or args.get("role") if isinstance(task, IncludeRole) else args.get("_raw_params") or args.get("file")
                if not isinstance(target, str):
                    why = target.get("unknown") if isinstance(target, dict) else "no name"
                    PROBLEMS.add(f"what is included is unknown: {why}", file, line)
                    continue
                key = json.dumps([target, args.get("tasks_from", "main")], default=str)
                if key in done:
                    continue
                done.add(key)
                self.follow(task, state, target, args, file, line, depth)

    def follow(self, task, state, target, args, file, line, depth):
        try:
            if isinstance(task, IncludeRole):
                copy = task.copy()
                copy._role_name = target
                for key, attr in (("tasks_from", "tasks"), ("vars_from", "vars"), ("defaults_from", "defaults"), ("handlers_from", "handlers")):
                    if isinstance(args.get(key), str):
                        copy._from_files[attr] = args[key]
                blocks, handlers = copy.get_block_list(play=state.play, variable_manager=self.variables, loader=self.loader)
                for block in blocks:
                    self.block(block, state, depth + 1)
                inner = PlayState(state.play, state.hosts, state.base, True)
                for block in handlers:
                    self.block(block, inner, depth + 1)
                return
            path = ""
            for base in [os.path.dirname(file), *[os.path.join(p, "tasks") for p in task.get_search_path()], *task.get_search_path()]:
                if os.path.isfile(os.path.join(base, target)):
                    path = os.path.join(base, target)
                    break
            if not path:
                PROBLEMS.add(f"the included file {target} is not there", file, line)
                return
            READS.add(path, "tasks")
            data = self.loader.load_from_file(path)
            if not isinstance(data, list):
                PROBLEMS.add(f"{relative(path)} is not a list of tasks", path)
                return
            blocks = load_list_of_blocks(data, play=state.play, parent_block=task.build_parent_block(), role=task._role,
                                         task_include=task, use_handlers=isinstance(task, HandlerTaskInclude),
                                         variable_manager=self.variables, loader=self.loader)
            for block in blocks:
                self.block(block, state, depth + 1)
        except AnsibleError as e:
            PROBLEMS.add(f"include {target}: {first_line(e)}", file, line)


TEMPLATES = {}


class PlayState:
    """What is the same for all tasks of a play."""

    def __init__(self, play, hosts, base, handler):
        self.play, self.hosts, self.base, self.handler = play, hosts, base, bool(handler)
        self.roles, self.extra = {}, {}


def module_name(task):
    return str(task.resolved_action or task.action).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")


def first_line(e):
    text = str(getattr(e, "message", "") or e).strip()
    if not text:
        return type(e).__name__
    # Ansible says the same again for each level that it went through.
    parts = text.splitlines()[0].rstrip(". ").split(". ")
    return ". ".join(dict.fromkeys(parts))


def shorten(value):
    """Long texts are content, which is not needed beyond its beginning."""
    if isinstance(value, str):
        return value if len(value) <= 2000 else value[:2000]
    if isinstance(value, dict):
        return {k: shorten(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shorten(v) for v in value]
    return value


def main():
    reader = Reader()
    PROBLEMS.playbook = ""
    reader.tell_inventory()
    for request in REQUEST.get("playbooks", []):
        try:
            reader.read(request)
        except Exception as e:  # one playbook must not take the others along
            print(traceback.format_exc(), file=sys.stderr)
            PROBLEMS.add(f"reading stopped: {type(e).__name__}: {first_line(e)}")
            emit("playbook", id=request["id"], path=request["path"], reads={}, uses=[], external=[], ok=False)
    emit("end")


if __name__ == "__main__":
    main()
