# SPDX-License-Identifier: Apache-2.0
"""Results in the words and the form of Zuul's console, which people and tools read."""

import json

COMMANDS = ("command", "shell", "ansible.builtin.command", "ansible.builtin.shell",
            "ansible.legacy.command", "ansible.legacy.shell")
DEBUGS = ("debug", "ansible.builtin.debug")
# What nobody sees of a result that failed: its output was told already.
TOLD = ("changed", "cmd", "zuul_log_id", "invocation", "stdout", "stdout_lines", "stderr", "stderr_lines", "exception")


def title(task):
    """The task's name; a command without one is named by its line, where that may be told."""
    name = task.get_name().strip()
    if task.no_log:
        return name
    raw = task.args.get("_raw_params") if isinstance(task.args, dict) else None
    if name in ("command", "shell", "win_command", "win_shell") and isinstance(raw, str) and "\n" not in raw.strip():
        return "%s: %s" % (name, raw.strip())
    return name


def said(r, action, state, item, looped):
    """The state of a result that did not fail, and what is shown with it."""
    if action in COMMANDS and r.get("delta"):
        label = "Item: %s " % item if isinstance(item, str) else "Item: " if looped else ""
        return "ok", {"x": label + "Runtime: " + r["delta"]}  # a command always changes something
    if looped:
        return state, {"x": plain(r["msg"]) if "msg" in r else pretty(item)}
    if action in DEBUGS:
        bare = {k: v for k, v in r.items() if not k.startswith("_ansible") and k not in ("changed", "failed")}
        if "msg" not in bare:
            return state, {"x": pretty(bare)}
        value = bare["msg"]
        return "said", {"x": "\n".join(map(plain, value)) if isinstance(value, list) else plain(value)}
    # A module that gathers things for others asks for silence.
    return state, {"x": "" if "_zuul_nolog_return" in r else plain(r.get("msg") or "")}


def failure(r, action, item, looped):
    """How a failed result is shown, and in short why it failed."""
    why = text_of(r.get("msg")) or text_of(r.get("reason")) or last_line(r.get("exception"))
    trace = text_of(r.get("exception")).strip()
    if why.startswith("MODULE FAILURE"):
        told = text_of(r.get("module_stdout")).strip() or trace or text_of(r.get("module_stderr")).strip()
        if told:
            return {"broken": True, "x": told, "why": last_line(told)}
    if looped and action in COMMANDS and "rc" in r:
        return {"x": "Item: %s Result: %s" % (plain(item), r["rc"]), "why": why}
    fields = {"d": pretty({k: v for k, v in r.items() if not k.startswith("_ansible") and k not in TOLD}), "why": why}
    if looped:
        fields["x"] = "Item: %s" % plain(item)
    if action not in COMMANDS and trace != "NoneType: None":  # what Python says where there is no exception
        fields["trace"] = trace
    return fields


def plain(value):
    """A message as Zuul shows it: what is no text in Python's form."""
    return value if isinstance(value, str) else str(value)


def pretty(value):
    # Letters stay what they are: secrets are masked by them.
    try:
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    except TypeError:  # keys of several kinds have no order
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def text_of(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def last_line(trace):
    lines = text_of(trace).strip().splitlines()
    return lines[-1] if lines else ""
