# SPDX-License-Identifier: Apache-2.0
"""Runs the command module, and tells it where its output can be followed."""

import os
import uuid

from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash


def console_path(task_uuid, host):
    """The file that a task's output is followed by; the stream callback computes the same."""
    build = os.environ.get("GOZER_BUILD", "local")
    safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in host)
    return "/tmp/console-%s-%s-%s.log" % (build, task_uuid, safe)


class ActionModule(ActionBase):

    def run(self, tmp=None, task_vars=None):
        self._supports_async = True
        result = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        args = dict(self._task.args)
        if os.environ.get("GOZER_EVENTS_FD") and not self._task.async_val:
            args["zuul_log_id"] = uuid.uuid4().hex
            args["zuul_no_log"] = bool(self._task.no_log)
            args["zuul_log_path"] = console_path(self._task._uuid, task_vars["inventory_hostname"])
            args["zuul_log_keep"] = bool(self._task.loop or self._task.loop_with or self._task.until)
            args["zuul_output_max_bytes"] = int(os.environ.get("ZUUL_OUTPUT_MAX_BYTES", "0") or 0)
        args["zuul_split_streams"] = os.environ.get("ZUUL_ANSIBLE_SPLIT_STREAMS") == "True"
        got = self._execute_module(module_name="ansible.legacy.command", module_args=args, task_vars=task_vars,
                                   wrap_async=wrap_async)
        # The reader's arguments are no business of the job's.
        for key in list(got.get("invocation", {}).get("module_args", {})):
            if key.startswith("zuul_"):
                del got["invocation"]["module_args"][key]
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return merge_hash(result, got)
