"""The inventory of the repository, and its variables, as Ansible has them."""

import os

from ansible.errors import AnsibleError
from ansible.inventory import manager as inventory_manager
from ansible.inventory.manager import InventoryManager
from ansible.utils.vars import combine_vars
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.plugins import get_vars_from_inventory_sources

from nested import is_bastion
from says import PROBLEMS, REQUEST, ROOT, Timeout, emit, first_line, limited, relative
from versions import listen, load, position

# Variables of other hosts, gathered once for each folder of playbooks: nothing changes them here.
KEPT = {}


def keep_variables(original):
    def get(self, name):
        key = (id(self), self._loader.get_basedir(), str(name))
        if key not in KEPT:
            KEPT[key] = original(self, name)
        return KEPT[key]
    return get


HostVars.__getitem__ = keep_variables(HostVars.__getitem__)


class Inventories:
    """The hosts and variables that a reader works with, by the sources that they are from."""

    def use(self, sources):
        """Works with the hosts and variables of some sources; with those of the whole repository where there are none."""
        known = REQUEST.get("inventory") or []
        key = () if sources and known and len(self.chosen(sources)) == len(known) else tuple(sources)
        sources = list(key)
        if key not in self.inventories:
            inventory = self.load_inventory(sources)
            variables = VariableManager(loader=self.loader, inventory=inventory)
            variables._hostvars = HostVars(inventory, variables, self.loader)
            self.inventories[key] = (inventory, variables)
        self.inventory, self.variables = self.inventories[key]
        if key or len(self.inventories) > 1:
            self.renderer.variables = self.variables

    def find_bastion(self):
        """The host on which Ansible runs: the one that the request names, else the only one that is called or
        grouped so."""
        named = REQUEST.get("bastion")
        if named:
            if named not in self.inventory.hosts:
                self.inventory.add_host(named)
            return named
        found = [h.name for h in self.inventory.get_hosts() if h.name not in self.fresh
                 and (is_bastion(h.name) or any(is_bastion(g.name) for g in h.get_groups()))]
        return found[0] if len(found) == 1 else ""

    def chosen(self, sources):
        """Those of the repository's own sources that some name, one by one or as a folder."""
        return [k for k in REQUEST.get("inventory") or [] if any(k == s or k.startswith(s.rstrip("/") + "/") for s in sources)]

    def load_inventory(self, sources):
        """Sources are loaded one by one, so that one that hangs does not take the others along."""
        paths = [os.path.join(ROOT, source) for source in (self.chosen(sources) or sources or REQUEST.get("inventory") or [])]
        inventory = InventoryManager(loader=self.loader, sources=paths or None, parse=False)
        warnings = []
        shown = listen(inventory_manager.display, warnings)
        for path in paths:
            source = relative(path)
            if not os.path.exists(path):
                PROBLEMS.add(f"the inventory {source} is not there")
                continue
            warnings.clear()
            emit("reading", text=f"the inventory {source}")
            try:
                if not limited(REQUEST.get("inventory_seconds", 20), f"the inventory {source}", inventory.parse_source, path):
                    PROBLEMS.add(f"the inventory {source} could not be read: {reason(warnings, path)}", path)
            except (AnsibleError, Timeout) as e:
                PROBLEMS.add(f"the inventory {source} could not be read: {first_line(e)}" if isinstance(e, AnsibleError) else f"{e}: its hosts are unknown", path)
        shown()
        inventory._inventory.reconcile_inventory()
        for one in [*inventory.groups.values(), *inventory.hosts.values()]:
            one.vars = combine_vars(one.vars, get_vars_from_inventory_sources(self.loader, paths, [one], "inventory"))
        for host, groups in (REQUEST.get("hosts") or {}).items():
            # Nodes of the nodeset, which the inventory of the repository may not have.
            if not inventory.get_host(host) or host not in inventory.hosts:
                if not sources:
                    self.fresh.append(host)
                inventory.add_host(host)
            for group in groups:
                inventory.add_group(group)
                inventory.add_host(host, group)
        inventory.reconcile_inventory()
        return inventory

    def tell_inventory(self):
        hosts = {h.name: sorted(g.name for g in h.get_groups()) for h in self.inventory.get_hosts() if h.name not in self.fresh}
        files = {}
        for path in (REQUEST.get("variables") or []):
            keys = self.keys(os.path.join(ROOT, path))
            if keys is not None:
                files[path] = keys
        emit("inventory", hosts=hosts, files=files, fresh=self.fresh, bastion=self.bastion)

    def tell_others(self):
        """Hosts of inventories that only commands name, and those that add_host adds by their address."""
        first = {h.name for h in self.inventories[()][0].get_hosts()}
        others = {h.name: sorted(g.name for g in h.get_groups()) for key, (inventory, _) in self.inventories.items() if key
                  for h in inventory.get_hosts() if h.name not in first}
        others |= {name: groups for name, groups in self.placed.items() if name not in first}
        if others:
            emit("hosts", hosts=others)

    def keys(self, path):
        """The top-level keys of a file of variables with their lines, and what their values use."""
        try:
            data = load(self.loader, path)
        except (AnsibleError, ValueError) as e:
            PROBLEMS.add(f"{relative(path)}: {first_line(e)}", path)
            return None
        if not isinstance(data, dict):
            return {}
        out = {}
        for k, v in data.items():
            pos = position(k)
            used, _ = self.names.inside(v)
            out[str(k)] = {"line": pos[1] if pos else 0, "uses": sorted(used)}
        return out


def reason(warnings, path):
    """Why no plugin could read a source: what the likeliest said, as each tried it."""
    said = [w.split(" plugin: ", 1) for w in warnings if " plugin: " in w]
    likely = "script" if os.access(path, os.X_OK) else "yaml" if path.endswith((".yaml", ".yml")) else "ini"
    for before, text in said:
        if before.endswith(likely) or before.endswith("auto") and likely == "yaml":
            return first_line(text).replace(path, relative(path))
    return first_line(said[0][1]) if said else "no plugin knows what it is"
