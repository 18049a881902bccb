# SPDX-License-Identifier: Apache-2.0
"""known_lines: lines of known_hosts from the facts of hosts."""


def known_lines(hosts):
    out = []
    for h in hosts:
        for kind, name in (("ed25519", "ssh-ed25519"), ("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256")):
            key = h.get("ansible_ssh_host_key_%s_public" % kind)
            if not key:
                continue
            address, port = h["nodepool"]["private_ipv4"], h["ansible_port"]
            for of in (address, h["inventory_hostname"]):
                out.append("%s %s %s" % (of if port == 22 else "[%s]:%d" % (of, port), name, key))
    return sorted(out)


class FilterModule(object):
    def filters(self):
        return {"known_lines": known_lines}
