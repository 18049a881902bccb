#!/usr/bin/python3
"""A name server for one zone: answers A queries from a zone file over UDP.

    named.py ZONEFILE DOMAIN ADDRESS PORT          serve
    named.py --query NAME ADDRESS PORT             ask, and print the address
"""

import socket
import struct
import sys


def load(path, domain):
    records = {}
    with open(path) as f:
        for line in f:
            parts = line.split()
            if len(parts) == 3 and parts[1] == "A":
                name = parts[0][:-1] if parts[0].endswith(".") else f"{parts[0]}.{domain}"
                records[name.lower()] = parts[2]
    return records


def pack(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


def unpack(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += data[at] + 1
    return ".".join(labels).lower(), at + 1


def answer(query, records):
    ident, _, questions = struct.unpack("!HHH", query[:6])
    name, end = unpack(query, 12)
    kind, _ = struct.unpack("!HH", query[end:end + 4])
    found = records.get(name) if kind == 1 and questions == 1 else None
    flags = 0x8580 if name in records else 0x8583
    head = struct.pack("!HHHHHH", ident, flags, 1, 1 if found else 0, 0, 0)
    body = query[12:end + 4]
    if found:
        body += struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(found)
    return head + body


def query(name, address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + pack(name) + struct.pack("!HH", 1, 1),
                 (address, port))
        data = s.recv(512)
    if not struct.unpack("!H", data[6:8])[0]:
        return None
    return socket.inet_ntoa(data[-4:])


def main():
    if sys.argv[1] == "--query":
        found = query(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        if not found:
            sys.exit(f"{sys.argv[2]}: no such name")
        print(found)
        return
    records = load(sys.argv[1], sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((sys.argv[3], int(sys.argv[4])))
        while True:
            data, peer = s.recvfrom(512)
            try:
                s.sendto(answer(data, records), peer)
            except (IndexError, struct.error, UnicodeDecodeError) as e:
                print(f"query from {peer}: {e}", flush=True)


if __name__ == "__main__":
    main()
