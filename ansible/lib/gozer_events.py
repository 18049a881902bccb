# SPDX-License-Identifier: Apache-2.0
"""The way back from Ansible to the executor: one JSON object a line on an inherited descriptor.

The descriptor's number is in GOZER_EVENTS_FD. The executor writes the log and masks secrets there, so
that nothing in this process has to be trusted with that.
"""

import json
import os
import threading

_lock = threading.Lock()


def _fd():
    try:
        return int(os.environ.get("GOZER_EVENTS_FD", ""))
    except ValueError:
        return None


def emit(kind, **fields):
    """Write one event; without an executor that listens it does nothing."""
    fd = _fd()
    if fd is None:
        return
    fields["e"] = kind
    _write(fd, json.dumps(fields, ensure_ascii=True, default=str).encode() + b"\n")


def emit_lines(host, lines, stream=None):
    """Write many lines of output at once: pairs of the text, and whether the line goes on."""
    fd = _fd()
    if fd is None or not lines:
        return
    head = '{"e":"line","h":%s,%s"x":' % (json.dumps(host), '"s":"%s",' % stream if stream else "")
    text = json.dumps
    _write(fd, "".join([head + text(x) + (',"more":true}\n' if more else "}\n") for x, more in lines]).encode())


def _write(fd, data):
    with _lock:
        while data:
            data = data[os.write(fd, data):]
