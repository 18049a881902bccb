#!/usr/bin/python3
"""A small server for the services of the fleet, told by a JSON file what it is.

    {"bind": "127.0.0.1", "port": 8080,
     "tls": {"cert": "...", "key": "..."},      HTTPS; without it, HTTP
     "root": "/srv/www",                        files below a folder
     "vhosts": "/etc/proxy/backends",           lines "prefix folder": one more folder a prefix
     "forward": ["gitea01:3081"]}               no HTTP at all: TCP connections go there, in turn
"""

import http.server
import itertools
import json
import os
import socket
import ssl
import sys
import threading


class Files(http.server.SimpleHTTPRequestHandler):
    vhosts = None

    def translate_path(self, path):
        for prefix, folder in self.backends():
            if path.split("?")[0].startswith(f"/{prefix}/"):
                self.directory = folder
                return super().translate_path(path[len(prefix) + 1:])
        return super().translate_path(path)

    def backends(self):
        if not self.vhosts or not os.path.exists(self.vhosts):
            return []
        with open(self.vhosts) as f:
            return [line.split() for line in f if len(line.split()) == 2]

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Loads the certificate anew when the file has changed, so that a renewal needs no restart."""

    tls = None
    loaded = None

    def get_request(self):
        conn, addr = super().get_request()
        if not self.tls:
            return conn, addr
        stamp = os.stat(self.tls["cert"]).st_mtime_ns
        if stamp != self.loaded:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(self.tls["cert"], self.tls["key"])
            self.loaded = stamp
        conn.settimeout(20)
        # The handshake happens in the thread of the connection, at its first read.
        return self.context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False), addr

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ssl.SSLError, ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def forward(listener, backends):
    for backend in itertools.cycle(backends):
        conn, _ = listener.accept()
        host, port = backend.rsplit(":", 1)
        try:
            up = socket.create_connection((host, int(port)), timeout=5)
            up.settimeout(60)
        except OSError:
            conn.close()
            continue
        threading.Thread(target=pump, args=(conn, up), daemon=True).start()
        threading.Thread(target=pump, args=(up, conn), daemon=True).start()


def main():
    with open(sys.argv[1]) as f:
        conf = json.load(f)
    address = (conf["bind"], conf["port"])
    if conf.get("forward"):
        with socket.create_server(address, reuse_port=False) as listener:
            forward(listener, conf["forward"])
        return
    Files.vhosts = conf.get("vhosts")
    root = conf.get("root", "/var/empty")
    server = Server(address, lambda *a: Files(*a, directory=root))
    server.tls = conf.get("tls")
    server.serve_forever()


if __name__ == "__main__":
    main()
