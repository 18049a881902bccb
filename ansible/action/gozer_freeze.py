# SPDX-License-Identifier: Apache-2.0
"""gozer_freeze: the job's variables with their templates rendered, one JSON object by host.

Trusted playbooks get these values instead of templates, so that nothing that an untrusted job wrote is
evaluated among trusted code. What cannot be rendered is left out.
"""

import json

from ansible.plugins.action import ActionBase
from ansible.errors import AnsibleError
from ansible.template import Templar


class ActionModule(ActionBase):

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        frozen = {}
        for host, names in self._task.args["names"].items():
            # The raw values: looking at hostvars renders all at once, and one bad template spoils it.
            raw = task_vars["hostvars"].raw_get(host)
            templar = Templar(loader=self._loader, variables=raw)
            frozen[host] = {}
            for name in names:
                if name not in raw:
                    continue
                try:
                    value = templar.template(raw[name])
                    frozen[host][name] = json.loads(json.dumps(value))
                except (AnsibleError, TypeError, ValueError):
                    continue
        with open(self._task.args["path"], "w") as f:
            json.dump(frozen, f)
        return dict(result, changed=False)
