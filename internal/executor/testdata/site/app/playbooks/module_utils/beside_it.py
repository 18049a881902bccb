# SPDX-License-Identifier: Apache-2.0
"""What the module says."""


def said(x):
    return x + "!"
