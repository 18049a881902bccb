#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A module beside its playbook."""
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.beside_it import said

if __name__ == "__main__":
    m = AnsibleModule(argument_spec=dict(greeting=dict(required=True)))
    m.exit_json(said=said(m.params["greeting"]))
