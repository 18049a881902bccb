#!/usr/bin/python3
"""Ansible module: keep a program running as a service of a host that has no service manager."""

DOCUMENTATION = r"""
module: fleet_service
short_description: keep a program running in the background
description:
  - Writes the files that the program needs and a boot script in /etc/gozer/boot.d, starts the
    program in a session of its own, and restarts it when its command line or one of the files has
    changed.
options:
  name: {description: name of the service, type: str, required: true}
  argv: {description: the program and its arguments, type: list, elements: str, required: true}
  files: {description: "files to write, each with path and content", type: list, elements: dict, default: []}
  folders: {description: folders to make, type: list, elements: path, default: []}
  port: {description: TCP port that must answer before the task is done, type: int}
  bind: {description: address of that port, type: str, default: 127.0.0.1}
  wait: {description: seconds to wait for the port, type: float, default: 10}
"""

import hashlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

BOOT = "/etc/gozer/boot.d"
STATE = "/srv/fleet/run"


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return ""


def write(path, text, mode):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


def answers(bind, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((bind, port)) == 0


class Service:
    def __init__(self, name, argv):
        self.argv = argv
        self.boot = f"{BOOT}/{name}"
        self.pid_file = f"{STATE}/{name}.pid"
        self.sum_file = f"{STATE}/{name}.sum"
        self.log = f"/srv/fleet/log/{name}.log"
        # The boot script is also how the module starts the service: what works now works after a
        # restart of the host.
        self.script = (
            "#!/bin/sh\n"
            f"setsid {shlex.join(argv)} >>{self.log} 2>&1 </dev/null &\n"
            f"echo $! >{self.pid_file}\n"
        )

    def fingerprint(self, files):
        h = hashlib.sha256(self.script.encode())
        for path in sorted(files):
            h.update(f"{path}\0{files[path]}\0".encode())
        return h.hexdigest()

    def pid(self):
        """The process, if it is still the one that was started: numbers are used again."""
        text = read(self.pid_file).strip()
        if not text.isdigit():
            return 0
        try:
            with open(f"/proc/{text}/cmdline") as f:
                running = f.read().rstrip("\0").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return 0
        return int(text) if running == self.argv else 0

    def stop(self):
        pid = self.pid()
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(40):
                if not self.pid():
                    return
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    return
                time.sleep(0.05)

    def start(self):
        subprocess.run(["/bin/sh", self.boot], check=True)

    def tail(self):
        return read(self.log)[-2000:]


def main():
    m = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "argv": {"type": "list", "elements": "str", "required": True},
            "files": {
                "type": "list", "elements": "dict", "default": [],
                "options": {"path": {"type": "path", "required": True}, "content": {"type": "raw", "required": True}},
            },
            "folders": {"type": "list", "elements": "path", "default": []},
            "port": {"type": "int"},
            "bind": {"type": "str", "default": "127.0.0.1"},
            "wait": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    p = m.params
    # A template that renders to JSON arrives here as a structure: it is written as JSON again.
    files = {f["path"]: text(f["content"]) for f in p["files"]}
    s = Service(p["name"], p["argv"])
    stale = [path for path, content in files.items() if read(path) != content]
    missing = [path for path in p["folders"] if not os.path.isdir(path)]
    want = s.fingerprint(files)
    restart = bool(stale) or not s.pid() or read(s.sum_file) != want
    if m.check_mode:
        m.exit_json(changed=restart or bool(missing))
    try:
        prepare(s, files, stale, missing)
        if restart:
            s.stop()
            write(s.boot, s.script, 0o755)
            s.start()
            write(s.sum_file, want, 0o644)
        if not wait_for(s, p):
            os.remove(s.sum_file)
            m.fail_json(msg=f"{p['name']} does not answer on {p['bind']}:{p['port']}", log=s.tail())
    except (OSError, subprocess.CalledProcessError) as e:
        m.fail_json(msg=f"start the service {p['name']}: {e}")
    m.exit_json(changed=restart or bool(missing), pid=s.pid())


def text(content):
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True) + "\n"


def prepare(s, files, stale, missing):
    for folder in (BOOT, STATE, os.path.dirname(s.log), *missing, *(os.path.dirname(f) for f in stale)):
        os.makedirs(folder, exist_ok=True)
    for path in stale:
        write(path, files[path], 0o644)


def wait_for(s, p):
    """Reports whether the service runs, and answers where it has a port."""
    end = time.monotonic() + p["wait"]
    while time.monotonic() < end:
        if not p["port"]:
            time.sleep(0.1)
            return s.pid() != 0
        if answers(p["bind"], p["port"]):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    main()
