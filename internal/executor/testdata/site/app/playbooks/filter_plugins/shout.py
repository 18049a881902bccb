# SPDX-License-Identifier: Apache-2.0
"""shout: in capitals."""


class FilterModule(object):
    def filters(self):
        return {"shout": str.upper}
