#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of gozer_freeze for Ansible's loader; the work is done by the action of that name."""

DOCUMENTATION = """
module: gozer_freeze
short_description: Render the job's variables
options:
  path: {description: Where to write them., type: path, required: true}
  names: {description: The variables to render for each host., type: dict, required: true}
"""
