# SPDX-License-Identifier: Apache-2.0
"""The job console: what Ansible does, as events that the executor writes into the log.

Lines have the form that people and tools know from Zuul. The output of command and shell is told line
by line while it runs: their module writes it to a file on the node, and a reader on the connection that
Ansible has open (or on the file, where the connection is local) follows it. What the reader did not see
by the time the result is here, is told from the result; so nothing is lost and nothing told twice.
"""

import os
import shlex
import subprocess
import sys
import threading
import time

from ansible.plugins.callback import CallbackBase
from ansible.plugins.connection.ssh import Connection as SSH
from ansible.template import Templar
from ansible import context

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from gozer_console import COMMANDS, failure, said, text_of, title  # noqa: E402
from gozer_events import emit, emit_lines  # noqa: E402

DOCUMENTATION = """
    name: gozer_stream
    type: stdout
    short_description: Tells the executor what happens
    description: [Events for the job console]
"""

# How much of what was written is looked at at once.
CHUNK = 1 << 20
# A task must take this long before a reader is started for it.
PATIENCE = 0.3

FOLLOW = (
    "f={path}; (while [ ! -e \"$f\" ]; do sleep 0.1; done; exec tail -c +1 -F \"$f\" 2>/dev/null) & p=$!; "
    "cat >/dev/null; kill $p; rm -f \"$f\""
)


def console_path(task_uuid, host):
    build = os.environ.get("GOZER_BUILD", "local")
    safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in host)
    return "/tmp/console-%s-%s-%s.log" % (build, task_uuid, safe)


class Reader(threading.Thread):
    """Follows one task's console file on one host and tells its lines."""

    def __init__(self, host, path, ssh):
        super().__init__(daemon=True)
        self.host, self.path, self.ssh = host, path, ssh
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.log_id, self.told = None, {}
        self.process = None

    def run(self):
        if self.over.wait(PATIENCE):
            return
        try:
            self.follow_ssh() if self.ssh else self.follow_file()
        except OSError:
            pass  # the result tells all that the reader did not

    def follow_ssh(self):
        control = self.ssh["control"]
        while not os.path.exists(control):
            if self.over.wait(0.05):
                return
        command = ["ssh", "-o", "ControlMaster=no", "-o", "ControlPath=" + control, "-o", "BatchMode=yes"]
        command += self.ssh["args"] + [self.ssh["host"], FOLLOW.format(path=shlex.quote(self.path))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        rest = b""
        for part in iter(lambda: self.process.stdout.read1(CHUNK), b""):
            rest = self.take(rest + part)

    def follow_file(self):
        f, rest = None, b""
        while not self.over.wait(0.05):
            if f is None:
                try:
                    f = open(self.path, "rb", buffering=0)
                except OSError:
                    continue
            for part in iter(lambda: f.read(CHUNK), b""):
                rest = self.take(rest + part)
                if self.over.is_set():
                    break
        if f is not None:
            f.close()

    def take(self, data):
        """Tell the whole lines of data, and give back what follows them."""
        lines = data.split(b"\n")
        rest = lines.pop()
        with self.lock:
            if self.over.is_set():
                return b""
            ready, of = [], "o"
            for line in lines:
                line = line.decode("utf-8", "replace")
                mark = line[:1]
                if mark == "#":
                    self.log_id = line[1:]
                    self.told[self.log_id] = {"o": 0, "e": 0}
                    continue
                if not self.log_id or not mark:
                    continue
                stream = mark.lower()
                if stream != of:
                    tell(self.host, ready, of)
                    ready, of = [], stream
                self.told[self.log_id][stream] += len(line) - 1
                ready.append((line[1:], mark != stream))
            tell(self.host, ready, of)
        return rest

    def seen(self, log_id):
        """How many characters of each stream were told, line ends aside; call it under the lock."""
        return self.told.get(log_id, {"o": 0, "e": 0})

    def stop(self):
        self.over.set()
        if self.process is not None:
            try:
                self.process.stdin.close()
                self.process.wait(timeout=2)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        elif not self.ssh:
            try:
                os.unlink(self.path)
            except OSError:
                pass


def tell(host, lines, stream="o"):
    """Lines of output, each with whether it is only the beginning of one too long for one piece."""
    # Asked for each time: this module may have been loaded long before the job.
    if os.environ.get("ZUUL_ANSIBLE_SPLIT_STREAMS") == "True":
        emit_lines(host, lines, "stderr" if stream == "e" else "stdout")
    else:
        emit_lines(host, lines)


def untold(text, told):
    """The lines of text after the first `told` characters, line ends not counted."""
    for line in text.split("\n"):
        if told >= len(line) and told > 0:
            told -= len(line)
            continue
        yield line[told:]
        told = 0


class CallbackModule(CallbackBase):

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "gozer_stream"

    def __init__(self):
        super().__init__()
        self.readers = {}
        self.play = None
        self.begun = {}
        self.failing = False
        self.censor = set()

    # Plays and tasks.

    def v2_playbook_on_play_start(self, play):
        self.play = play
        emit("play", n=play.get_name().strip())

    def v2_playbook_on_no_hosts_matched(self):
        emit("text", x="skipping: no hosts matched")

    def v2_playbook_on_task_start(self, task, is_conditional):
        # The qualified name would bypass the command that can be followed.
        if task.action in ("ansible.builtin.command", "ansible.builtin.shell"):
            task.action = task.action.rpartition(".")[2]
        kind = "LOOP" if task.loop or task.loop_with else "TASK"
        emit("task", k=kind, n=title(task), u=task._uuid, p=task.get_path() or "", a=task.action)

    def v2_playbook_on_cleanup_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_include(self, included_file):
        for host in included_file._hosts:
            emit("text", x="%s | included: %s" % (host.name, included_file._filename))

    def v2_runner_on_start(self, host, task):
        self.begun[(task._uuid, host.name)] = time.time()
        if task.action not in COMMANDS or task.no_log or task.async_val:
            return
        name, where = host.name, host
        if task.delegate_to:
            name, where = self.delegate(host, task)
            if where is None:
                return  # the result tells all
        reader = Reader(name, console_path(task._uuid, host.name), self.connection(where, task))
        self.readers[(task._uuid, host.name)] = reader
        reader.start()

    def delegate(self, host, task):
        """The host that a task is delegated to, and how both are shown; None where it cannot be said."""
        try:
            manager = self.play.get_variable_manager()
            to = task.delegate_to
            if "{{" in to:
                to = Templar(loader=task.get_loader(), variables=manager.get_vars(play=self.play, host=host, task=task)).template(to)
            where = manager._inventory.get_host(to)
            address = manager.get_vars(play=self.play, host=where, include_hostvars=False).get("ansible_host", where.name)
            return "%s -> %s" % (host.name, address), where
        except Exception:  # whatever is wrong with it, the task itself says so
            return None, None

    def connection(self, host, task):
        """How to reach the host with plain ssh; None where the connection is local."""
        v = dict(self.play.get_variable_manager().get_vars(play=self.play, host=host, task=task,
                                                           include_hostvars=False))
        kind = v.get("ansible_connection") or task.connection
        if kind == "local" or (host.implicit and host.name == "localhost"):
            return None
        address, port, user = v.get("ansible_host", host.name), v.get("ansible_port"), v.get("ansible_user")
        control = SSH._create_control_path(address, port, user) % {
            "directory": os.environ.get("ANSIBLE_SSH_CONTROL_PATH_DIR", "")}
        args = ["-p", str(port)] if port else []
        args += ["-l", str(user)] if user else []
        return {"host": address, "args": args, "control": control}

    # Results.

    def v2_runner_on_ok(self, result):
        self.finish(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.finish(result, "ignored" if ignore_errors else "failed")
        if not ignore_errors and not self.failing and not rescued(result._task):
            self.failing = True
            emit("failing")

    def v2_runner_on_skipped(self, result):
        self.stop_reader(result)
        if result._task.loop is None:
            self.skipped(result)

    def v2_runner_on_unreachable(self, result):
        self.stop_reader(result)
        msg = str(result._result.get("msg", ""))
        if result._task.ignore_unreachable:
            emit("result", h=shown(result), st="ignored", x=msg, task=result._task.get_name().strip())
            return
        emit("unreachable", h=result._host.name, x=msg, task=result._task.get_name().strip())

    def v2_runner_item_on_ok(self, result):
        self.item(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_item_on_failed(self, result):
        self.item(result, "failed")

    def v2_runner_item_on_skipped(self, result):
        self.skipped(result)

    def v2_runner_retry(self, result):
        self.output(result)
        left = result._result.get("retries", 0) - result._result.get("attempts", 0)
        emit("text", x="%s | FAILED - RETRYING: %s (%d retries left)." % (
            shown(result), result._task.get_name().strip(), left))

    def item(self, result, state):
        self.output(result, wrong=state == "failed")
        self.say(result, state, item=self._get_item_label(result._result), looped=True)

    def finish(self, result, state):
        r, task = result._result, result._task
        looped = (task.loop or task.loop_with) and ("results" in r or hidden(result))
        if not looped:
            self.output(result, wrong=state in ("failed", "ignored"))
        self.stop_reader(result)
        if not looped:
            self.say(result, state)
        elif state in ("failed", "ignored"):
            self.tell_result(result, state, x=text_of(r.get("msg", "One or more items failed")))

    def skipped(self, result):
        r = result._result
        self.tell_result(result, "skipping", x=text_of(r.get("skip_reason") or r.get("skipped_reason")))

    def tell_result(self, result, state, **fields):
        task = result._task
        if state == "failed" and (rescued(task) or task.ignore_errors):
            fields["rescued"] = True  # nothing that an explanation would name
        emit("result", h=shown(result), st=state, task=task.get_name().strip(), p=task.get_path() or "", a=task.action,
             **fields)

    def say(self, result, state, item=None, looped=False):
        """One result, in the words and the form of Zuul's console."""
        r, action = result._result, result._task.action
        wrong = state in ("failed", "ignored")
        if hidden(result):
            state, fields = state if wrong else "hidden", {"x": "Output suppressed because no_log was given"}
        elif wrong:
            fields = failure(r, action, item, looped)
        else:
            state, fields = said(r, action, state, item, looped)
        self.tell_result(result, state, **fields)

    def output(self, result, wrong=False):
        """Tell the lines of a command that its reader has not told; of another module, those that people look for."""
        r = result._result
        if hidden(result) or not isinstance(r, dict):
            return
        streams = (("o", "stdout"), ("e", "stderr")) if wrong or result._task.action in COMMANDS else (("o", "stdout"),)
        reader = self.readers.get((result._task._uuid, result._host.name))
        if reader is None:
            self.rest(shown(result), r, {"o": 0, "e": 0}, streams)
            return
        with reader.lock:
            self.rest(shown(result), r, reader.seen(r.get("zuul_log_id")), streams)
            if not (result._task.loop or result._task.loop_with or result._task.until):
                reader.over.set()
            elif r.get("zuul_log_id"):
                # What still comes for this item has been told just now.
                reader.told[r["zuul_log_id"]] = {"o": 0, "e": 0}
                reader.log_id = None

    def rest(self, host, r, seen, streams):
        for stream, key in streams:
            text = r.get(key)
            if isinstance(text, str) and text.rstrip("\r\n"):
                lines = untold(text.rstrip("\r\n"), seen[stream])
                tell(host, [(line.rstrip("\r"), False) for line in lines], stream)

    def stop_reader(self, result):
        reader = self.readers.pop((result._task._uuid, result._host.name), None)
        if reader is not None:
            reader.stop()

    def v2_playbook_on_stats(self, stats):
        for reader in list(self.readers.values()):
            reader.stop()
        hosts = {h: stats.summarize(h) for h in sorted(stats.processed)}
        emit("stats", hosts=hosts)


def shown(result):
    """The host of a result, and the address of the one that its task was delegated to, as Zuul shows them."""
    to = result._result.get("_ansible_delegated_vars") if isinstance(result._result, dict) else None
    if not to:
        return result._host.name
    return "%s -> %s" % (result._host.name, to.get("ansible_host"))


def hidden(result):
    return bool(result._task.no_log or result._result.get("_ansible_no_log") or "censored" in result._result)


def rescued(task):
    """Whether a block around the task catches its failure; what fails in a rescue or always section it does not."""
    child, parent = task, task._parent
    while parent is not None:
        if getattr(parent, "rescue", None):
            after = {t._uuid for t in parent.rescue + (parent.always or [])}
            if child._uuid not in after:
                return True
        child, parent = parent, getattr(parent, "_parent", None)
    return False
