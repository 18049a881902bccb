# SPDX-License-Identifier: Apache-2.0
"""An action beside its playbook."""
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return dict(super().run(tmp, task_vars), got=self._task.args["x"])
