# SPDX-License-Identifier: Apache-2.0
"""What a folder of logs holds."""

import os


def tree(top):
    return sorted(os.path.relpath(os.path.join(d, f), top) for d, _, fs in os.walk(top) for f in fs)
