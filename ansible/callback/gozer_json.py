# SPDX-License-Identifier: Apache-2.0
"""One playbook's results for job-output.json, handed to the executor when the playbook ends."""

import datetime
import json
import math
import os
import sys

from ansible.plugins.callback import CallbackBase

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from gozer_events import emit  # noqa: E402

DOCUMENTATION = """
    name: gozer_json
    type: aggregate
    short_description: Results for job-output.json
    description: [One record a playbook]
"""

# How much of a record is handed over at once, in characters.
PIECE = 1 << 18


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def text(value):
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # there are numbers that JSON has not
        return json.dumps(finite(value), ensure_ascii=False, default=str)


def finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value


def record(plays, stats):
    """The inside of a JSON object, piece by piece."""
    yield '"plays": ['
    for i, play in enumerate(plays):
        yield '%s\n{"play": %s, "tasks": [' % ("," if i else "", text(play["play"]))
        for j, task in enumerate(play["tasks"]):
            yield "%s\n%s" % ("," if j else "", text(task))
        yield "\n]}"
    yield '\n], "stats": %s' % text(stats)


class CallbackModule(CallbackBase):

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gozer_json"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.plays = []
        self.tasks = {}

    def v2_playbook_on_play_start(self, play):
        self.plays.append({
            "play": {"name": play.get_name(), "id": str(play._uuid), "duration": {"start": now()}},
            "tasks": [],
        })

    def v2_playbook_on_task_start(self, task, is_conditional):
        record = {"task": {"name": task.get_name(), "id": str(task._uuid), "duration": {"start": now()}},
                  "hosts": {}}
        if task._role:
            record["role"] = {"name": task._role.get_name(), "id": str(task._role._uuid),
                              "path": task._role._role_path}
        self.tasks[task._uuid] = record
        self.plays[-1]["tasks"].append(record)

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def record(self, result, **flags):
        task = self.tasks.get(result._task._uuid)
        if task is None:
            return
        r = {k: v for k, v in result._result.items() if not k.startswith(("_ansible", "zuul_log"))}
        if result._task.no_log or result._result.get("_ansible_no_log"):
            r = {"censored": "the output has been hidden due to the fact that 'no_log: true' was specified "
                             "for this result"}
        if result._task.action in ("setup", "gather_facts", "ansible.builtin.setup",
                                   "ansible.builtin.gather_facts"):
            r.pop("ansible_facts", None)
        r["action"] = result._task.action
        r.update(flags)
        task["hosts"][result._host.name] = r
        task["task"]["duration"]["end"] = self.plays[-1]["play"]["duration"]["end"] = now()

    def v2_runner_on_ok(self, result):
        self.record(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.record(result, failed=True)

    def v2_runner_on_skipped(self, result):
        self.record(result, skipped=True)

    def v2_runner_on_unreachable(self, result):
        self.record(result, unreachable=True)

    def v2_playbook_on_stats(self, stats):
        held, size = [], 0
        for piece in record(self.plays, {h: stats.summarize(h) for h in sorted(stats.processed)}):
            for at in range(0, len(piece), PIECE):
                held.append(piece[at:at + PIECE])
                size += len(held[-1])
                if size >= PIECE:
                    emit("record", x="".join(held), more=True)
                    held, size = [], 0
        emit("record", x="".join(held))
