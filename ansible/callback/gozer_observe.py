# SPDX-License-Identifier: Apache-2.0
"""What tasks really did: a line of JSON for each task on each host, in the file that GOZER_OBSERVE names.

It needs nothing else of Gozer, so that a job can lay it on the host from which it runs Ansible itself. What a
task must not tell (no_log) is not told.
"""

import json
import os
import platform
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: gozer_observe
    type: aggregate
    short_description: Writes down which task touched what, and when
    description: [One JSON object a line, for the check of which jobs touched the same]
"""

LONGEST = 400
MOST = 60


def plain(value, depth=0):
    """The value, as far as it is short enough to be a name of something."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return value if len(value) <= LONGEST else None
    if depth > 3:
        return None
    if isinstance(value, (list, tuple)):
        return [plain(v, depth + 1) for v in value[:MOST]]
    if isinstance(value, dict):
        return {str(k): plain(v, depth + 1) for k, v in list(value.items())[:MOST]}
    return None


class CallbackModule(CallbackBase):

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gozer_observe"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.begun = {}

    def v2_runner_on_start(self, host, task):
        self.begun[(host.name, task._uuid)] = time.time()

    def v2_runner_on_ok(self, result):
        if "results" not in result._result or not (result._task.loop or result._task.loop_with):
            self.write(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)

    def v2_runner_item_on_ok(self, result):
        self.write(result)

    def v2_runner_item_on_failed(self, result):
        self.write(result)

    def write(self, result):
        path, r, task = os.environ.get("GOZER_OBSERVE"), result._result, result._task
        if not path or task.no_log or not isinstance(r, dict) or r.get("_ansible_no_log"):
            return
        args = (r.get("invocation") or {}).get("module_args")
        if not isinstance(args, dict):
            args = task.args if isinstance(task.args, dict) else {}
        delegated = r.get("_ansible_delegated_vars") or {}
        host = delegated.get("inventory_hostname") or (task.delegate_to if isinstance(task.delegate_to, str) else None)
        host = host if host and "{{" not in host else result._host.name
        if host in ("localhost", "127.0.0.1"):
            host = "localhost:" + platform.node()
        now = time.time()
        line = {
            "host": host, "module": getattr(task, "resolved_action", None) or task.action, "args": plain(args),
            "task": task.get_name().strip(), "path": task.get_path() or "", "changed": bool(r.get("changed")),
            "begin": self.begun.get((result._host.name, task._uuid), now), "end": now,
        }
        try:
            with open(path, "a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")
        except OSError:
            pass  # whoever looks sees that nothing was observed
