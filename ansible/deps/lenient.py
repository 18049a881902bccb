"""Makes Ansible's loader carry on where a run would stop, and never ask anything outside of the checkout."""

import os
import re

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.parsing.vault import is_encrypted
from ansible.playbook.role.definition import RoleDefinition
from ansible.plugins import loader as plugins

from names import listed
from says import PROBLEMS, READS, REQUEST, ROOT, emit, inside, relative
from versions import ENVIRONMENTS, position

# Lookups that look at nothing but the repository and the variables.
HARMLESS = {"file", "template", "vars", "dict", "items", "list", "indexed_items", "nested", "flattened",
            "together", "sequence", "subelements", "fileglob", "first_found", "filetree",
            "varnames", "inventory_hostnames", "cartesian"}

# Roles and modules that are not here, as they were met in one playbook.
EXTERNAL = []
STUBS = os.path.join(os.environ["ANSIBLE_HOME"], "roles-from-elsewhere")


class Loader(DataLoader):
    """An encrypted file is empty, and told of; one in another encoding is read as far as that goes."""

    def _get_file_contents(self, file_name):
        data, show = super()._get_file_contents(file_name)
        try:
            str(data, "utf-8")
        except ValueError:
            name = os.fsdecode(file_name)
            PROBLEMS.add(f"{relative(name)} is not UTF-8: some letters in it are not known", name, partial=False)
            data = str(data, "utf-8", "replace").encode()
        return data, show

    def _decrypt_if_vault_data(self, b_vault_data, b_file_name=None):
        if is_encrypted(b_vault_data):
            at = position(b_vault_data)
            name = os.fsdecode(b_file_name) if b_file_name else at[0] if at else ""
            PROBLEMS.add(f"{relative(name)} is encrypted: what it defines is unknown", name)
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
            emit("missing", playbook=PROBLEMS.playbook, module=name[1] if name else "?")
            return original(self, True)
    return parse


def is_role(path):
    return any(os.path.isdir(os.path.join(path, part)) for part in ("tasks", "handlers", "defaults", "vars", "meta"))


def lenient_role(original):
    """A role that is not in the repository is one task that names it."""
    def load(self, role_name):
        found = None
        try:
            found = original(self, role_name)
            if is_role(found[1]):
                return found
        except AnsibleError as e:
            if "was not found" not in str(e):
                raise
        # A folder beside the playbooks may only be called as a role is.
        name = str(role_name)
        for path in [*(os.path.join(f, name) for f in REQUEST.get("role_folders") or []), (REQUEST.get("roles") or {}).get(name, "")]:
            if path and os.path.isdir(path):
                return name, os.path.realpath(path)
        if found:
            return found
        absent = REQUEST.get("absent")
        PROBLEMS.add(f"role {name} is not in this repository{', ' + absent if absent else ''}: what it does is unknown")
        EXTERNAL.append(name)
        stub = os.path.join(STUBS, re.sub(r"[^A-Za-z0-9_.-]", "_", name))
        os.makedirs(os.path.join(stub, "tasks"), exist_ok=True)
        with open(os.path.join(stub, "tasks", "main.yml"), "w") as f:
            f.write(f"- name: role {name}\n  gozer_role_from_elsewhere:\n    name: '{name}'\n")
        return name, stub
    return load


ModuleArgsParser.parse = lenient_parse(ModuleArgsParser.parse)
RoleDefinition._load_role_path = lenient_role(RoleDefinition._load_role_path)


def add_plugins():
    """The repository may keep plugins where an installed ansible.cfg, which is not here, would find them."""
    loaders = {"inventory": plugins.inventory_loader, "filter": plugins.filter_loader, "test": plugins.test_loader,
               "lookup": plugins.lookup_loader, "action": plugins.action_loader, "modules": plugins.module_loader}
    for folder, kind in sorted((REQUEST.get("plugins") or {}).items()):
        loaders[kind].add_directory(os.path.join(ROOT, folder))


def keep_compiled(original):
    """Jinja compiles a text each time that it is rendered; for many hosts that is most of the work."""
    compiled = {}

    def compile(self, source, name=None, filename=None, raw=False, defer_init=False):
        if not isinstance(source, str) or name or filename or raw or defer_init:
            return original(self, source, name, filename, raw, defer_init)
        key = (type(self), self.variable_start_string, self.block_start_string, self.trim_blocks, self.keep_trailing_newline, str(source))
        if key not in compiled:
            compiled[key] = original(self, source, name, filename, raw, defer_init)
        return compiled[key]
    return compile


for environment in ENVIRONMENTS:
    environment.compile = keep_compiled(environment.compile)


def guard_lookups(original):
    """Whatever asks for a lookup gets only those that look at nothing but the repository."""
    def get(name, *args, **kwargs):
        short = str(name).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
        if short not in HARMLESS:
            raise AnsibleError(f"lookup {short} is not made while reading")
        found = original(name, *args, **kwargs)
        if short in ("file", "template", "fileglob", "filetree") and found.object is not None:
            found.object.run = guard_paths(found.object.run)
        return found
    return get


def guard_paths(run):
    def guarded(terms, *args, **kwargs):
        for term in listed(terms):
            path = os.path.expanduser(str(term))
            if path.startswith("/"):
                if not inside(os.path.realpath(path)):
                    raise AnsibleError(f"{term} is outside of the repository")
                READS.add(os.path.realpath(path), "files")
        return run(terms, *args, **kwargs)
    return guarded


plugins.lookup_loader.get_with_context = guard_lookups(plugins.lookup_loader.get_with_context)
