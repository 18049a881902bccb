"""Groups by patterns of host names."""

import fnmatch

from ansible.parsing.yaml.objects import AnsibleMapping  # noqa: F401
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = """
name: yamlgroup
plugin_type: inventory
short_description: groups by patterns
options:
  plugin:
    description: this
    required: true
    choices: [yamlgroup]
  groups:
    description: patterns
    type: dict
"""


class InventoryModule(BaseInventoryPlugin):
    NAME = "yamlgroup"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(("groups.yaml", "groups.yml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        groups = self._read_config_data(path)["groups"]
        for name, patterns in groups.items():
            inventory.add_group(name)
            for p in [patterns] if isinstance(patterns, str) else patterns:
                for host in list(inventory.hosts):
                    if fnmatch.fnmatch(host, p):
                        inventory.add_child(name, host)
