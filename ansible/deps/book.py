"""Walks through playbooks as Ansible would, without running anything."""

import fnmatch
import json
import os
import pathlib
import re

from ansible.errors import AnsibleError
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.handler_task_include import HandlerTaskInclude
from ansible.playbook.helpers import load_list_of_blocks
from ansible.playbook.role_include import IncludeRole
from ansible.playbook.task_include import TaskInclude
from ansible.template import Templar

from hosts import KEPT, Inventories
from lenient import EXTERNAL, STUBS, Loader
from names import Names, is_text_template, listed
from nested import is_bastion, runs
from render import PlayState, Renderer, module_name
from says import PROBLEMS, READS, REQUEST, ROOT, Timeout, emit, first_line, limited, relative
from versions import environment_of, load, position, template


class Reader(Inventories):
    def __init__(self):
        self.loader = Loader()
        self.loader.set_basedir(ROOT)
        # What add_host and group_by make lasts for one run of Ansible; placed are added hosts whose address is written down.
        self.fresh, self.added, self.grouped, self.placed = [], [], [], {}
        self.inventories = {}
        self.use([])
        self.names = Names(environment_of(Templar(loader=self.loader)))
        self.renderer = Renderer(self.loader, self.variables, self.names)
        self.used, self.nested = set(), []
        self.bastion = self.find_bastion()

    # Playbooks and plays.

    def read_all(self, requests, read):
        """Reads playbooks, and those that they run in turn, each once for a job."""
        done, how = set(), set()
        for request in requests:
            # Those that a variable names come last: the command that runs one may say more of how.
            if not request.get("named") or (request["id"], request["path"]) not in done:
                done.add((request["id"], request["path"]))
                read(request)
            while self.nested:
                inner = self.nested.pop(0)
                key = json.dumps(inner, sort_keys=True, default=str)
                if key not in how:
                    how.add(key)
                    done.add((inner["id"], inner["path"]))
                    read(inner)

    def read(self, request):
        # What a playbook that many jobs share hides is said once, and leaves no job in doubt.
        PROBLEMS.playbook = "" if request.get("outer") else request["id"]
        READS.files.clear()
        EXTERNAL.clear()
        self.used, self.request = set(), request
        self.use(request.get("inventory") or [])
        self.limit_hosts(request.get("limit"))
        path = os.path.join(ROOT, request["path"])
        self.variables._extra_vars = dict(request.get("vars") or {})
        self.loader.set_basedir(ROOT)
        ok = False
        try:
            limited(REQUEST.get("seconds", 60), f"reading {request['path']}", self.playbook, path)
            ok = True
        except Timeout as e:
            PROBLEMS.add(str(e), path)
        except AnsibleError as e:
            obj = getattr(e, "obj", None) or getattr(e, "_obj", None)
            pos = position(obj)
            PROBLEMS.add(first_line(e), pos[0] if pos else path, pos[1] if pos else 0)
        except RecursionError:
            PROBLEMS.add("the content includes itself", path)
        self.limit_hosts(None)
        self.forget_hosts()
        emit("playbook", id=request["id"], path=request["path"], reads=READS.files, uses=sorted(self.used),
             external=[] if request.get("outer") else sorted(set(EXTERNAL)), ok=ok, **self.whose())

    def whose(self):
        """Whether what is being read runs on a bastion, by which host's Ansible; outer: it is what runs that; aimed: on
        the hosts of the repository, for sure."""
        return {key: self.request[key] for key in ("inner", "outer", "controller", "aimed") if self.request.get(key)}

    def limit_hosts(self, pattern):
        try:
            self.inventory.subset(pattern)
        except AnsibleError as e:
            PROBLEMS.add(f"--limit {pattern}: {first_line(e)}")
            self.inventory.subset(None)

    def playbook(self, path):
        READS.add(path, "playbook")
        book = Playbook.load(path, variable_manager=self.variables, loader=self.loader)
        # As whoever runs it does: roles and variables beside the playbook are found from here.
        self.loader.set_basedir(os.path.dirname(path))
        for play in book.get_plays():
            self.play(play)

    def play(self, play):
        data = play._ds if isinstance(getattr(play, "_ds", None), dict) else {}
        pos = position(data)
        if pos:
            READS.add(pos[0], "play")
        hosts, sure = self.hosts(play)
        emit("play", playbook=self.request["id"], **self.whose(), name=play.get_name(), pattern=str(data.get("hosts", "")),
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
            except (AnsibleError, ValueError) as e:
                PROBLEMS.add(f"variables of {host.name}: {first_line(e)}")
                base[host.name] = {"inventory_hostname": host.name}
        state = PlayState(play, hosts, base)
        for block in play.compile():
            self.block(block, state, 0, not sure)
        handlers, seen = [], set()
        for block in [*play.handlers, *(b for role in play.roles for b in role.get_handler_blocks(play))]:
            if id(block) not in seen:
                seen.add(id(block))
                handlers.append(block)
        self.handlers(handlers, state)

    def hosts(self, play):
        """The hosts of a play, and whether it is sure that it is those."""
        pattern = play.hosts
        templar = Templar(loader=self.loader, variables=self.variables.get_vars(play=play))
        try:
            pattern = template(templar, pattern)
        except Exception as e:  # undefined in a pattern raises by kind of pattern
            PROBLEMS.add(f"the hosts of the play {play.get_name()} are unknown: {first_line(e)}")
            return [], True
        nodes = self.request.get("nodes")
        # With a nodeset, its nodes are all hosts that there are; nodes of other jobs are nowhere else.
        found = [h for h in self.inventory.get_hosts(pattern) if h.name in ("localhost", *self.added)
                 or (h.name in nodes if nodes else h.name not in self.fresh)]
        text = pattern if isinstance(pattern, str) else ":".join(pattern)
        if not found and self.bastion and not self.request.get("inner") and is_bastion(text):
            # A role of another repository adds it.
            return [self.inventory.get_host(self.bastion)], True
        if not found:
            made, sure = self.made(text)
            if made:
                return made, sure
            PROBLEMS.add(f"no host of the inventory matches {text}")
        return found, True

    def handlers(self, blocks, state):
        """Handlers that something notifies, for the hosts on which it does."""
        state.handler = True
        tasks = [t for b in blocks for t in flatten(b)]
        done = set()
        again = True
        while again:
            again = False
            for task in tasks:
                hosts = self.notified(task, state)
                hosts = [h for h in state.hosts if h.name in hosts and (id(task), h.name) not in done]
                if hosts:
                    done.update((id(task), h.name) for h in hosts)
                    self.safely(task, state.only(hosts, {}), 0, False)
                    again = True

    def notified(self, task, state):
        names = {task.name, task.get_name(), *map(str, listed(task.listen))}
        if is_text_template(task.name or "") and state.hosts:
            variables = self.renderer.variables_of(task, state, state.hosts[0])
            said = self.renderer.value(task.name, self.renderer.templar(state, state.hosts[0], variables), variables, state)
            names.add(said if isinstance(said, str) else "?")
        hosts = set(state.notified.get(None, ()))
        for name in names:
            hosts |= state.notified.get(name, set())
        return hosts

    def note(self, value):
        used, lookups = self.names.inside(value)
        self.used |= used
        return used, lookups

    # Tasks.

    def block(self, block, state, depth, rescue=False):
        for part, loose in ((block.block, rescue), (block.rescue, True), (block.always, rescue)):
            for item in part:
                if isinstance(item, Block):
                    self.block(item, state, depth, loose)
                else:
                    self.safely(item, state, depth, loose)

    def safely(self, task, state, depth, loose):
        """One task must not take the others along."""
        try:
            self.task(task, state, depth, loose)
        except Exception as e:
            pos = position(task.get_ds())
            PROBLEMS.add(f"this task could not be read: {type(e).__name__}: {first_line(e)}", pos[0] if pos else "", pos[1] if pos else 0)

    def task(self, task, state, depth, loose):
        pos = position(task.get_ds())
        file, line = (pos[0], pos[1]) if pos else ("", 0)
        READS.add(file, "tasks")
        if task._role and not task._role._role_path.startswith(STUBS):
            self.role_files(task._role)
        if task.action == "meta" or task.action.endswith(".meta") or not self.wanted(task, state):
            return
        names = self.task_names(task)
        if task.run_once and state.hosts:
            state = state.only(state.hosts[:1], {})
        if isinstance(task, (TaskInclude, IncludeRole)) and not getattr(task, "statically_loaded", False):
            self.include(task, state, file, line, depth, names, loose)
            return
        out = {}
        templates = self.renderer.template_names(task)
        groups = [[h] for h in state.hosts] if templates is None else self.renderer.groups(task, state, names | templates)
        self.used |= templates or set()
        for hosts in groups:
            for rendered in self.renderer.render(task, state, hosts[0]):
                rendered.pop("item", None)
                if loose:
                    rendered["guarded"] = True
                key = json.dumps(rendered, sort_keys=True, default=str)
                out.setdefault(key, (rendered, []))[1].extend(h for h in hosts if h not in out.get(key, ((), ()))[1])
        if task.register:
            state.late.add(task.register)
        for rendered, hosts in out.values():
            self.after(task, state, rendered, hosts)
            emit("task", playbook=self.request["id"], **self.whose(), play=state.play.get_name(), name=task.get_name().replace(f"{STUBS}/", ""),
                 module=module_name(task), hosts=[h.name for h in hosts], file=relative(file) if not file.startswith(STUBS) else "",
                 line=line, role=task._role.get_name() if task._role else "", handler=state.handler or isinstance(task, Handler),
                 tolerant=bool(task.ignore_errors) or any(str(f).lower() == "false" for f in listed(task.failed_when)),
                 **rendered)

    def wanted(self, task, state):
        """Whether its tags are among those that are run."""
        tags = self.request.get("tags") or ["all"]
        skipped = self.request.get("skip_tags") or []
        try:
            return task.evaluate_tags(tags, skipped, state.base.get(state.hosts[0].name, {}) if state.hosts else {})
        except AnsibleError:
            return "never" not in task.tags

    def task_names(self, task):
        """The names that a task uses, which are those that it is rendered with."""
        names, _ = self.note(task.args)
        names = set(names)
        for value in (task.vars, task.loop, task.delegate_to, task.environment, task.connection, task.remote_user, task.become_user):
            if value:
                used, _ = self.note(value)
                names |= used
        for conditions in (task.when, task.until, task.changed_when, task.failed_when):
            for text in listed(conditions):
                if isinstance(text, str) and text:
                    used = self.names.expression(text)
                    self.used |= used
                    if conditions is task.when:
                        names |= used
        names |= {"ansible_connection", "ansible_user"}
        return names

    def after(self, task, state, rendered, hosts):
        """What a task leaves for those behind it: facts, hosts, notified handlers."""
        short = module_name(task)
        args = rendered["args"]
        if short == "set_fact":
            for key, value in args.items():
                known = not rendered["guarded"] and "loop" not in rendered and not (isinstance(value, dict) and "unknown" in value)
                for host in hosts:
                    if known:
                        state.facts.setdefault(host.name, {})[key] = value
                        state.late.discard(key)
                if not known:
                    state.late.add(key)
        elif short == "include_vars":
            self.included_vars(task, state, rendered, hosts)
        elif short == "add_host" and isinstance(args.get("name") or args.get("hostname"), str):
            self.add_host(args)
        elif short == "group_by":
            self.group_by(args, hosts, rendered["guarded"])
        elif short in ("command", "shell", "raw"):
            self.nested += runs(rendered, args, self.request, hosts)
        if [str(c).lower() for c in listed(task.changed_when)] == ["false"]:
            return
        for name in listed(task.notify):
            key = str(name)
            if is_text_template(key) and hosts:
                variables = self.renderer.variables_of(task, state, hosts[0])
                said = self.renderer.value(key, self.renderer.templar(state, hosts[0], variables), variables, state)
                key = said if isinstance(said, str) else None
            state.notified.setdefault(key, set()).update(h.name for h in hosts)

    def included_vars(self, task, state, rendered, hosts):
        """Variables of a file count from here on; where it may not be read, or which it is is unknown, they are unknown."""
        sources = [os.path.join(ROOT, s) for s in rendered.get("sources", [])]
        sure = not rendered["guarded"] and "loop" not in rendered and sources
        if not sources:
            target = rendered["args"].get("_raw_params") or rendered["args"].get("file")
            sources = [os.path.join(base, name) for name in self.candidates(task, target, "") for base in self.bases(task, "")
                       if os.path.isfile(os.path.join(base, name))]
        for path in sources:
            if not os.path.isfile(path):
                continue
            READS.add(path, "vars")
            try:
                data = load(self.loader, path)
            except AnsibleError as e:
                PROBLEMS.add(f"{relative(path)}: {first_line(e)}", path)
                continue
            for key, value in (data.items() if isinstance(data, dict) else ()):
                if rendered["args"].get("name"):
                    continue
                if sure:
                    for host in hosts:
                        state.facts.setdefault(host.name, {})[key] = value
                    state.late.discard(key)
                else:
                    state.late.add(key)

    def add_host(self, args):
        name = args.get("name") or args.get("hostname")
        groups = args.get("groups") or args.get("group") or []
        if name not in self.inventory.hosts:
            self.inventory.add_host(name)
            self.added.append(name)
        for group in groups.split(",") if isinstance(groups, str) else groups:
            if isinstance(group, str):
                self.inventory.add_group(group.strip())
                self.inventory.add_host(name, group.strip())
        self.inventory.reconcile_inventory()
        if name in self.added and isinstance(args.get("ansible_host"), str):
            self.placed[name] = sorted(g.name for g in self.inventory.get_host(name).get_groups())
        KEPT.clear()

    def forget_hosts(self):
        """The next run of Ansible knows nothing of hosts that this one added."""
        for name in self.added:
            self.inventory._inventory.remove_host(self.inventory.get_host(name))
        if self.added:
            self.inventory.clear_caches()
            KEPT.clear()
        self.added, self.grouped = [], []

    def group_by(self, args, hosts, guarded):
        """Notes a group that a run makes: which, as far as that is written."""
        key = args.get("key")
        if isinstance(key, dict):
            key = re.sub(r"\{\{.*?\}\}", "*", str(key.get("raw", "")), flags=re.S)
        if isinstance(key, str) and key:
            self.grouped.append((key.replace(" ", "-"), [h.name for h in hosts], guarded))

    def made(self, pattern):
        """Hosts of a group that group_by makes, and whether it is sure that these are in it."""
        found, sure = [], True
        for key, names, guarded in self.grouped:
            if key == pattern or fnmatch.fnmatchcase(pattern, key) and (key.strip("*") or SYSTEMS.match(pattern)):
                found += [self.inventory.get_host(n) for n in names if n not in {h.name for h in found}]
                sure = sure and key == pattern and not guarded
        return found, sure

    def role_files(self, role):
        for part in ("defaults", "vars", "meta"):
            folder = os.path.join(role._role_path, part)
            if os.path.isdir(folder):
                for f in sorted(os.listdir(folder)):
                    READS.add(os.path.join(folder, f), "role " + part)

    # Includes.

    def include(self, task, state, file, line, depth, names, loose):
        """A dynamic include whose target can be rendered is read like a static one."""
        if depth > 12:
            PROBLEMS.add("includes are nested too deeply", file, line)
            return
        todo = {}
        for hosts in self.renderer.groups(task, state, names):
            for rendered in self.renderer.render(task, state, hosts[0]):
                args, item = rendered["args"], rendered.get("item", {})
                target = args.get("name") or args.get("role") if isinstance(task, IncludeRole) else args.get("_raw_params") or args.get("file")
                if not isinstance(target, str):
                    why = target.get("unknown") if isinstance(target, dict) else "no name"
                    found = self.candidates(task, target, file)
                    if found:
                        which = f"{found[0]} may be" if len(found) == 1 else f"one of {', '.join(found)} is"
                        PROBLEMS.add(f"{which} included here, which is not known: {why}", file, line, partial=False)
                    else:
                        PROBLEMS.add(f"what is included here is unknown: {why}", file, line)
                    for one in found:
                        todo.setdefault(one, (one, args, item, [], True))[3].extend(hosts)
                    continue
                key = json.dumps([target, args.get("tasks_from"), item, rendered["guarded"]], default=str, sort_keys=True)
                todo.setdefault(key, (target, args, item, [], rendered["guarded"] or "loop" in rendered))[3].extend(hosts)
        for target, args, item, hosts, guarded in todo.values():
            self.follow(task, state.only(hosts, item), target, args, file, line, depth, loose or guarded)

    def bases(self, task, file):
        """The folders in which an included file is looked for."""
        return [os.path.dirname(file), *[os.path.join(p, "tasks") for p in task.get_search_path()], *task.get_search_path(), self.loader.get_basedir()]

    def candidates(self, task, target, file):
        """The files that an include by facts may mean: those that are there and named as it says."""
        raw = target.get("raw", "") if isinstance(target, dict) else ""
        patterns = [raw]
        if task.loop_with == "first_found" and raw.replace(" ", "") == "{{item}}":
            patterns = list(entries(task.loop))
        if isinstance(task, IncludeRole):
            return []
        out = []
        for pattern in patterns:
            glob = re.sub(r"\{\{.*?\}\}", "*", str(pattern), flags=re.S)
            if not glob.endswith((".yaml", ".yml")) or "{" in glob:
                continue
            for base in self.bases(task, file):
                for path in sorted(pathlib.Path(base).glob(glob.lstrip("/"))) if os.path.isdir(base) else []:
                    name = os.path.relpath(path, base)
                    wild = glob.replace("*", "").strip("._-/") in ("yaml", "yml", "tasks/yaml", "tasks/yml")
                    if str(path) != file and name not in out and (not wild or SYSTEMS.match(path.stem)):
                        out.append(name)
        return out[:20]

    def follow(self, task, state, target, args, file, line, depth, loose):
        try:
            if isinstance(task, IncludeRole):
                copy = task.copy()
                copy._role_name = target
                for key, attr in (("tasks_from", "tasks"), ("vars_from", "vars"), ("defaults_from", "defaults"), ("handlers_from", "handlers")):
                    if isinstance(args.get(key), str):
                        copy._from_files[attr] = args[key]
                blocks, handlers = copy.get_block_list(play=state.play, variable_manager=self.variables, loader=self.loader)
                for block in blocks:
                    self.block(block, state, depth + 1, loose)
                return
            path = next((p for p in (os.path.join(base, target) for base in self.bases(task, file)) if os.path.isfile(p)), "")
            if not path:
                PROBLEMS.add(f"the included file {target} is not there", file, line)
                return
            READS.add(path, "tasks")
            data = load(self.loader, path)
            if not isinstance(data, list):
                PROBLEMS.add(f"{relative(path)} is not a list of tasks", path)
                return
            blocks = load_list_of_blocks(data, play=state.play, parent_block=task.build_parent_block(), role=task._role,
                                         task_include=task, use_handlers=isinstance(task, HandlerTaskInclude),
                                         variable_manager=self.variables, loader=self.loader)
            for block in blocks:
                self.block(block, state, depth + 1, loose)
        except AnsibleError as e:
            PROBLEMS.add(f"include {target}: {first_line(e)}", file, line)


# Names that facts about a system have, as files that are included by them are called.
SYSTEMS = re.compile(r"(?i)(debian|ubuntu|bookworm|bullseye|trixie|jammy|noble|redhat|centos|rocky|almalinux|rhel|fedora|suse|opensuse|sles|alpine|arch|linux|windows"
                     r"|freebsd|darwin|gentoo|amazon|oracle|apt|dnf|yum|zypper|systemd|x86_64|aarch64|arm64|default|main-default)")


def entries(loop):
    """The names among the terms of with_first_found."""
    for term in listed(loop):
        if isinstance(term, dict):
            yield from listed(term.get("files"))
        else:
            yield term


def flatten(block):
    for item in [*block.block, *block.rescue, *block.always]:
        if isinstance(item, Block):
            yield from flatten(item)
        else:
            yield item
