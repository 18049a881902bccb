#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of zuul_return for Ansible's loader; the work is done by the action of that name."""

DOCUMENTATION = """
module: zuul_return
short_description: Return data from a job
options:
  data: {description: A dictionary to return., type: dict}
  secret_data: {description: "A dictionary to return to other jobs, never shown.", type: dict}
  file: {description: A JSON file on the executor with data., type: path}
  secret_file: {description: A JSON file on the executor with secret data., type: path}
  path: {description: Where results are kept., type: path}
"""
