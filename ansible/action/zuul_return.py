# SPDX-License-Identifier: Apache-2.0
"""zuul_return: data that a job gives back, gathered in work/results.json on the executor."""

import json
import os
import tempfile

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ARTIFACT = {"name": str, "url": str, "metadata": dict}


def merge(old, new):
    """Merge new into old: dictionaries deeply, anything else replaces."""
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            merge(old[key], value)
        else:
            old[key] = value


def merge_data(old, new):
    """Merge as for any data, but let the lists of `zuul` grow instead of being replaced."""
    before = old.get("zuul") if isinstance(old.get("zuul"), dict) else {}
    kept = {k: list(before[k]) for k in ("artifacts", "warnings") if isinstance(before.get(k), list)}
    comments = before.get("file_comments")
    comments = {k: list(v) for k, v in comments.items()} if isinstance(comments, dict) else {}
    merge(old, new)
    fresh = new.get("zuul") if isinstance(new.get("zuul"), dict) else {}
    for key, earlier in kept.items():
        if key in fresh:
            old["zuul"][key] = list(fresh[key]) + earlier
    for path, earlier in comments.items():
        if path in (fresh.get("file_comments") or {}):
            old["zuul"]["file_comments"][path] = earlier + list(fresh["file_comments"][path])


def check(data):
    """Say what is wrong with the parts of `zuul` that have a form."""
    zuul = data.get("zuul")
    if zuul is None:
        return
    if not isinstance(zuul, dict):
        raise AnsibleActionFail("zuul_return: zuul must be a dictionary")
    artifacts = zuul.get("artifacts", [])
    if not isinstance(artifacts, list):
        raise AnsibleActionFail("zuul_return: zuul.artifacts must be a list")
    for i, a in enumerate(artifacts):
        where = "zuul_return: zuul.artifacts[%d]" % i
        if not isinstance(a, dict):
            raise AnsibleActionFail("%s must be a dictionary" % where)
        for key, kind in ARTIFACT.items():
            if key in a and not isinstance(a[key], kind):
                raise AnsibleActionFail("%s.%s must be a %s" % (where, key, kind.__name__))
        for key in ("name", "url"):
            if key not in a:
                raise AnsibleActionFail("%s lacks %s" % (where, key))
    warnings = zuul.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(w, str) for w in warnings):
        raise AnsibleActionFail("zuul_return: zuul.warnings must be a list of strings")


def load(path):
    try:
        with open(path) as f:
            found = json.load(f)
    except (OSError, ValueError) as e:
        raise AnsibleActionFail("zuul_return: read %s: %s" % (path, e))
    if not isinstance(found, dict):
        raise AnsibleActionFail("zuul_return: %s must hold a JSON object" % path)
    return found


class ActionModule(ActionBase):

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        args = self._task.args
        unknown = set(args) - {"data", "secret_data", "file", "secret_file", "path"}
        if unknown:
            raise AnsibleActionFail("zuul_return: unknown arguments: %s" % ", ".join(sorted(unknown)))
        path = args.get("path") or os.path.join(os.environ["ZUUL_JOBDIR"], "work", "results.json")
        if self._play_context.check_mode:
            return dict(result, changed=False, skipped=True)
        stored = {"data": {}, "secret_data": {}}
        if os.path.exists(path):
            stored.update(load(path))
        for kind, source in (("data", "file"), ("secret_data", "secret_file")):
            for new in (load(args[source]) if args.get(source) else None, args.get(kind)):
                if not new:
                    continue
                if not isinstance(new, dict):
                    raise AnsibleActionFail("zuul_return: %s must be a dictionary" % kind)
                new = json.loads(json.dumps(new, default=str))
                if kind == "data":
                    check(new)
                merge_data(stored[kind], new)
        # Whole or not at all: the executor may read it after the job was stopped.
        fd, name = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(fd, "w") as f:
            json.dump(stored, f)
        os.replace(name, path)
        if args.get("secret_data") or args.get("secret_file"):
            result["_ansible_no_log"] = True
        return dict(result, changed=True)
