#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Accepts what Zuul's zuul_console does.

Output of running commands is followed over the SSH connection that Ansible has anyway, so there is no
daemon to start and no port to open: the module succeeds.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = """
module: zuul_console
short_description: Nothing to start, output is followed over SSH
options: {}
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(argument_spec=dict(
        path=dict(),
        port=dict(type="int", default=19885),
        state=dict(default="present", choices=["present", "absent"]),
    ), supports_check_mode=True)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
