#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The documentation of own_action."""
