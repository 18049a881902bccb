#!/usr/bin/python3
"""Ansible module: a certificate of the fleet's authority, with the key made on the host itself."""

DOCUMENTATION = r"""
module: fleet_certificate
short_description: get a certificate from the authority of the fleet
description:
  - Makes a key on the host, has the authority sign a request for the names, and keeps what is
    there while it is valid long enough, is for the same names, and is from the same authority.
options:
  dir: {description: folder of ca.pem, host.pem and host.key, type: path, required: true}
  authority: {description: URL of the authority, type: str, required: true}
  names: {description: names to be in the certificate, type: list, elements: str, required: true}
  renew_before_days: {description: validity that must be left, type: int, default: 30}
"""

import os
import subprocess
import tempfile
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule


def openssl(*args, ok=(0,)):
    p = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if p.returncode not in ok:
        raise RuntimeError(f"openssl {' '.join(args)}: {p.stderr.strip()}")
    return p


def good(folder, authority, names, days):
    """Reports whether the certificate that is there can stay."""
    ca, crt = f"{folder}/ca.pem", f"{folder}/host.pem"
    if not all(os.path.exists(f) for f in (ca, crt, f"{folder}/host.key")):
        return False
    with open(ca) as f:
        if f.read() != authority:
            return False
    if openssl("x509", "-in", crt, "-noout", "-checkend", str(days * 86400), ok=(0, 1)).returncode:
        return False
    if openssl("verify", "-CAfile", ca, crt, ok=(0, 1, 2)).returncode:
        return False
    text = openssl("x509", "-in", crt, "-noout", "-ext", "subjectAltName").stdout
    have = {part.strip()[4:] for part in text.replace("\n", ",").split(",") if "DNS:" in part}
    return have == set(names)


def request(url, data=None):
    try:
        with urllib.request.urlopen(url, data=data, timeout=20) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as e:
        raise RuntimeError(f"{url}: {e.code} {e.read().decode().strip()}") from e


def issue(folder, url, names):
    """Key and request are made beside the old ones, so that a failure leaves those in use."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as tmp:
        key, csr, crt = f"{tmp}/key", f"{tmp}/csr", f"{tmp}/crt"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", f"/CN={names[0]}", "-keyout", key, "-out", csr,
                "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names))
        with open(csr, "rb") as f:
            answer = request(url + "/sign", f.read())
        with open(crt, "w") as f:
            f.write(answer)
        os.chmod(key, 0o600)
        os.replace(key, f"{folder}/host.key")
        os.replace(crt, f"{folder}/host.pem")


def main():
    m = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "required": True},
            "authority": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "renew_before_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = m.params
    try:
        ca = request(p["authority"] + "/ca.pem")
        if good(p["dir"], ca, p["names"], p["renew_before_days"]):
            m.exit_json(changed=False)
        if not m.check_mode:
            issue(p["dir"], p["authority"], p["names"])
            with open(f"{p['dir']}/ca.pem", "w") as f:
                f.write(ca)
    except (OSError, RuntimeError) as e:
        m.fail_json(msg=f"get a certificate for {', '.join(p['names'])}: {e}")
    m.exit_json(changed=True)


if __name__ == "__main__":
    main()
