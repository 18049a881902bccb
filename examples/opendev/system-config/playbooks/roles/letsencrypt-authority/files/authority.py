#!/usr/bin/python3
"""The certificate authority of the fleet: signs a request for names that the zone has.

    authority.py FOLDER ADDRESS PORT NAMESERVER:PORT DOMAIN

GET /ca.pem gives its certificate. POST /sign takes a request in PEM and answers with a certificate,
or 403 where a name is not in the zone: like a DNS challenge, it asks the name server.
"""

import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, "/srv")
import named

FOLDER, ADDRESS, PORT, NAMESERVER, DOMAIN = sys.argv[1:6]
KEY, CERT = f"{FOLDER}/ca.key", f"{FOLDER}/ca.pem"
SIGNING = threading.Lock()


def openssl(*args, text=None):
    return subprocess.run(["openssl", *args], input=text, capture_output=True, text=True, check=True).stdout


def create():
    if os.path.exists(CERT):
        return
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "3650", "-subj", "/CN=Fleet authority", "-keyout", KEY, "-out", CERT + ".new",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    os.replace(CERT + ".new", CERT)


def unknown(names):
    """The names that the zone does not have."""
    host, port = NAMESERVER.rsplit(":", 1)
    full = [n if n.endswith(DOMAIN) else f"{n}.{DOMAIN}" for n in names]
    return [n for n in full if not named.query(n, host, int(port))]


def sign(csr):
    text = openssl("req", "-noout", "-text", "-verify", text=csr)
    names = re.findall(r"DNS:([\w.-]+)", text)
    if not names:
        raise PermissionError("the request has no name")
    if missing := unknown(names):
        raise PermissionError("not in the zone: " + ", ".join(missing))
    with SIGNING, tempfile.NamedTemporaryFile("w") as ext:
        ext.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\nextendedKeyUsage=serverAuth\n")
        ext.flush()
        return openssl("x509", "-req", "-CA", CERT, "-CAkey", KEY, "-CAcreateserial", "-days", "90",
                       "-extfile", ext.name, text=csr)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/ca.pem":
            return self.send_error(404)
        with open(CERT) as f:
            self.answer(200, f.read())

    def do_POST(self):
        csr = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            self.answer(200, sign(csr))
        except (PermissionError, OSError) as e:
            self.answer(403, str(e))
        except subprocess.CalledProcessError as e:
            self.answer(400, e.stderr)

    def answer(self, code, text):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


create()
http.server.ThreadingHTTPServer((ADDRESS, int(PORT)), Handler).serve_forever()
