"""Puts hosts into groups by patterns, or expressions, of their names."""

import fnmatch
import re

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = """
name: yamlgroup
plugin_type: inventory
short_description: groups by patterns
options:
  plugin:
    description: the name of this plugin
    required: true
    choices: [yamlgroup]
  groups:
    description: lists of patterns by group
    type: dict
"""


class InventoryModule(BaseInventoryPlugin):
    NAME = "yamlgroup"

    def verify_file(self, path):
        return path.endswith("groups.yaml")

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        for group, patterns in (loader.load_from_file(path).get("groups") or {}).items():
            name = self.inventory.add_group(group)
            for pattern in patterns if isinstance(patterns, list) else [patterns]:
                matcher = pattern[1:] if pattern.startswith("~") else fnmatch.translate(pattern)
                for host in sorted(inventory.hosts):
                    if re.match(matcher, host):
                        self.inventory.add_host(host, group=name)
