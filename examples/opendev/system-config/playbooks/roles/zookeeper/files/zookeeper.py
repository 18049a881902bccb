#!/usr/bin/python3
"""Answers the four-letter words of ZooKeeper.

    zookeeper.py ADDRESS PORT CONFIG       serve
    zookeeper.py --ask ADDRESS PORT        ask whether it is well, and print the answer
"""

import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        word = self.rfile.read(4)
        if word == b"ruok":
            self.wfile.write(b"imok")
        elif word == b"conf":
            with open(sys.argv[3], "rb") as f:
                self.wfile.write(f.read())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    if sys.argv[1] == "--ask":
        with socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=5) as s:
            s.sendall(b"ruok")
            print(s.recv(4).decode())
        return
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()
