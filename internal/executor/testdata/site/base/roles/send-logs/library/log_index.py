#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Writes an index of a folder of logs."""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.tree_of_logs import tree


def main():
    module = AnsibleModule(argument_spec=dict(root=dict(required=True, type="path")))
    found = tree(module.params["root"])
    with open(os.path.join(module.params["root"], "zuul-manifest.json"), "w") as f:
        json.dump({"tree": found}, f)
    module.exit_json(changed=True, found=found)


if __name__ == "__main__":
    main()
