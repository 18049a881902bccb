#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Takes keys out of the SSH agent, in the agent's own protocol: all but those with one comment."""

import os
import socket
import struct

from ansible.module_utils.basic import AnsibleModule


def ask(agent, body):
    agent.sendall(struct.pack(">I", len(body)) + body)
    size = struct.unpack(">I", agent.recv(4))[0]
    answer = b""
    while len(answer) < size:
        answer += agent.recv(size - len(answer))
    return answer


def strings(data):
    while data:
        size = struct.unpack(">I", data[:4])[0]
        yield data[4:4 + size]
        data = data[4 + size:]


def main():
    module = AnsibleModule(argument_spec=dict(keep=dict(required=True)))
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.connect(os.environ["SSH_AUTH_SOCK"])
    found = list(strings(ask(agent, b"\x0b")[5:]))
    removed = []
    for blob, comment in zip(found[::2], found[1::2]):
        if comment.decode() == module.params["keep"]:
            continue
        answer = ask(agent, b"\x12" + struct.pack(">I", len(blob)) + blob)
        if answer != b"\x06":
            module.fail_json(msg="the agent does not let go of %s" % comment.decode())
        removed.append(comment.decode())
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
