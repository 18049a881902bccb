#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""command and shell with output that can be followed while the command runs.

It takes the arguments and gives the results of Ansible's command module. A command that takes longer
than a moment has its lines written to a file as they come, which a reader of the executor follows; a
short one is told of by its result alone, without any file. Unless streams are split, stderr goes where
stdout goes, in the order in which it was written, as in Zuul.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = """
module: command
short_description: Run a command and let its output be followed
options: {}
"""

import datetime
import glob
import os
import select
import shlex
import subprocess
import time
import traceback

from ansible.module_utils.basic import AnsibleModule

# A command that ends sooner is not worth a file and a reader.
PATIENCE = 0.25
CHUNK = 65536
LONGEST = 50000


class Console(object):
    """The file that a reader follows: one line of output a line, marked o or e, or O or E where it is
    only the beginning of a very long line."""

    def __init__(self, path, log_id):
        self.path = path
        self.log_id = log_id
        self.file = None
        self.begun = time.time()
        self.pending = []
        self.part = {"o": b"", "e": b""}

    def feed(self, stream, data):
        if not self.path:
            return
        data = self.part[stream] + data
        lines = data.split(b"\n")
        self.part[stream] = lines.pop()
        for line in lines:
            while len(line) > LONGEST:
                self.pending.append((stream.upper(), line[:LONGEST]))
                line = line[LONGEST:]
            self.pending.append((stream, line))
        while len(self.part[stream]) > LONGEST:
            self.pending.append((stream.upper(), self.part[stream][:LONGEST]))
            self.part[stream] = self.part[stream][LONGEST:]
        self.flush()

    def flush(self):
        if not self.pending or time.time() - self.begun < PATIENCE:
            return
        if self.file is None and not self.open():
            return
        out = b"".join(s.encode() + line + b"\n" for s, line in self.pending)
        self.pending = []
        try:
            self.file.write(out)
            self.file.flush()
        except (IOError, OSError):
            self.path = None

    def open(self):
        # O_NOFOLLOW and the check for a plain file: /tmp belongs to everybody.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        try:
            self.file = os.fdopen(os.open(self.path, flags, 0o644), "ab")
            self.file.write(b"#" + self.log_id.encode() + b"\n")
            return True
        except (IOError, OSError):
            self.path = None
            return False

    def close(self, keep):
        if self.file is None:
            return
        self.file.close()
        if not keep:
            try:
                os.unlink(self.path)
            except OSError:
                pass


class TooMuch(Exception):
    pass


def stream(args, shell, executable, data, split, limit, console):
    """Run args; give the exit code and all that it wrote."""
    if shell:
        command = [executable or "/bin/sh", "-c", args if not isinstance(args, list) else " ".join(args)]
    else:
        command = args
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if data is not None else open(os.devnull, "rb"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if split else subprocess.STDOUT,
        close_fds=True,
    )
    streams = {process.stdout.fileno(): "o"}
    if split:
        streams[process.stderr.fileno()] = "e"
    got = {"o": [], "e": []}
    size = 0
    feed = {process.stdin.fileno(): data} if data is not None else {}
    while streams:
        readable, writable, _ = select.select(list(streams), list(feed), [], 0.2)
        for fd in writable:
            try:
                n = os.write(fd, feed[fd][:CHUNK])
                feed[fd] = feed[fd][n:]
            except OSError:
                feed[fd] = b""
            if not feed[fd]:
                process.stdin.close()
                del feed[fd]
        for fd in readable:
            chunk = os.read(fd, CHUNK)
            if not chunk:
                del streams[fd]
                continue
            size += len(chunk)
            if limit and size > limit:
                process.kill()
                process.wait()
                raise TooMuch()
            got[streams[fd]].append(chunk)
            console.feed(streams[fd], chunk)
        if not readable:
            console.flush()
            # A daemon that the command left behind may keep the pipe open for good.
            if process.poll() is not None and not select.select(list(streams), [], [], 0)[0]:
                break
    return process.wait(), b"".join(got["o"]), b"".join(got["e"])


def expand(word):
    return os.path.expandvars(os.path.expanduser(word))


def precondition(params):
    """Say why nothing is to be run, or None."""
    if params["creates"] and glob.glob(params["creates"]):
        return "since '%s' exists" % params["creates"], "skipped, since %s exists" % params["creates"]
    if params["removes"] and not glob.glob(params["removes"]):
        return "since '%s' does not exist" % params["removes"], "skipped, since %s does not exist" % params["removes"]
    return None


def text(data):
    return data.decode("utf-8", "surrogateescape")


def main():
    module = AnsibleModule(
        argument_spec=dict(
            _raw_params=dict(),
            _uses_shell=dict(type="bool", default=False),
            argv=dict(type="list", elements="str"),
            chdir=dict(type="path"),
            executable=dict(),
            expand_argument_vars=dict(type="bool", default=True),
            creates=dict(type="path"),
            removes=dict(type="path"),
            stdin=dict(required=False),
            stdin_add_newline=dict(type="bool", default=True),
            strip_empty_ends=dict(type="bool", default=True),
            zuul_log_id=dict(),
            zuul_log_path=dict(),
            zuul_log_keep=dict(type="bool", default=False),
            zuul_output_max_bytes=dict(type="int", default=0),
            zuul_split_streams=dict(type="bool", default=False),
            zuul_no_log=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )
    p = module.params
    shell, args, argv = p["_uses_shell"], p["_raw_params"], p["argv"]
    result = dict(changed=False, stdout="", stderr="", rc=None, cmd=None, start=None, end=None, delta=None, msg="")
    if not (args and args.strip()) and not argv:
        module.fail_json(**dict(result, rc=256, msg="no command given"))
    if args and argv:
        module.fail_json(**dict(result, rc=256, msg="only command or argv can be given, not both"))
    if args and not shell:
        args = shlex.split(args)
    args = args or [str(a) for a in argv]
    result["cmd"] = args
    if p["chdir"]:
        try:
            os.chdir(p["chdir"])
        except (IOError, OSError) as e:
            module.fail_json(**dict(result, msg="Unable to change directory before execution: %s" % e))
    why = precondition(p)
    if why:
        verb = "Would" if module.check_mode else "Did"
        module.exit_json(**dict(result, rc=0, msg="%s not run command %s" % (verb, why[0]), stdout=why[1]))
    if module.check_mode:
        skipped = p["creates"] is None and p["removes"] is None
        module.exit_json(**dict(result, changed=not skipped, skipped=skipped, rc=0,
                                msg="Command would have run if not in check mode"))
    if not shell and p["expand_argument_vars"]:
        args = [expand(a) for a in args]
    data = None
    if p["stdin"] is not None:
        data = p["stdin"].encode("utf-8", "surrogateescape") + (b"\n" if p["stdin_add_newline"] else b"")
    for name in ("LANG", "LC_ALL", "LC_MESSAGES"):
        if name in module.run_command_environ_update:
            os.environ[name] = module.run_command_environ_update[name]
    console = Console(None if module.no_log or p["zuul_no_log"] else p["zuul_log_path"], p["zuul_log_id"] or "")
    start = datetime.datetime.now()
    try:
        rc, out, err = stream(args, shell, p["executable"] if shell else None, data,
                              p["zuul_split_streams"], p["zuul_output_max_bytes"], console)
    except TooMuch:
        module.fail_json(**dict(result, changed=True, rc=-9,
                                msg="The command wrote more than %d bytes and was stopped" % p["zuul_output_max_bytes"]))
    except (IOError, OSError, ValueError) as e:
        module.fail_json(**dict(result, rc=getattr(e, "errno", None) or 257,
                                msg="Error executing command: %s" % e, exception=traceback.format_exc()))
    finally:
        console.close(p["zuul_log_keep"])
    end = datetime.datetime.now()
    out, err = text(out), text(err)
    if p["strip_empty_ends"]:
        out, err = out.rstrip("\r\n"), err.rstrip("\r\n")
    result.update(changed=True, rc=rc, stdout=out, stderr=err, start=str(start), end=str(end), delta=str(end - start))
    if console.file is not None:
        result["zuul_log_id"] = p["zuul_log_id"]
    if rc != 0:
        module.fail_json(**dict(result, msg="non-zero return code"))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
