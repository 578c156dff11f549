#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How an interface's NAPI instances put interrupts off: napi.py INTERFACE [DEFER_HARD_IRQS GRO_FLUSH_NS]

Writes a JSON list of [defer_hard_irqs, gro_flush_ns], by the instances' numbers; with two more arguments these are what all of them are
set to before. Exit status 3: this kernel has no such settings per instance (Linux 6.13). By the kernel's own interface ("netdev" of
generic netlink), and by nothing of netmapd-nic's.
"""

import errno
import json
import socket
import struct
import sys

GENERIC, GET_FAMILY, ERROR, DONE = 16, 3, 2, 3
NAPI_GET, NAPI_SET = 11, 14
IFINDEX, ID, DEFER, FLUSH = 1, 2, 5, 6
REQUEST, ACK, DUMP = 1, 4, 0x300


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def number(value):
    return int.from_bytes(value, sys.byteorder)


class Netlink:
    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
        self.socket.bind((0, 0))
        self.socket.settimeout(5)

    def ask(self, family, command, body, flags):
        """The attributes of each message that comes."""
        message = struct.pack("=BBH", command, 1, 0) + body
        self.socket.send(struct.pack("=IHHII", 16 + len(message), family, REQUEST | flags, 0, 0) + message)
        found = []
        while True:
            data = self.socket.recv(65536)
            while data:
                length, kind, = struct.unpack_from("=IH", data)
                if kind == ERROR:
                    error = struct.unpack_from("=i", data, 16)[0]
                    if error:
                        raise OSError(-error, "netlink")
                    return found
                if kind == DONE:
                    return found
                found.append(attributes(data[20:length]))
                data = data[(length + 3) & ~3:]
            if not flags:
                return found


def must_know_settings(netlink, family):
    """Nothing has this number; a kernel without the settings doesn't know the command."""
    try:
        netlink.ask(family, NAPI_SET, attribute(ID, struct.pack("=I", 0xffffffff)), ACK)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            raise


def main(interface, *values):
    netlink = Netlink()
    index = struct.pack("=I", socket.if_nametoindex(interface))
    try:
        family = number(netlink.ask(GENERIC, GET_FAMILY, attribute(2, b"netdev\0"), 0)[0][1])
        must_know_settings(netlink, family)
        instances = netlink.ask(family, NAPI_GET, attribute(IFINDEX, index), DUMP)
        if values:
            body = attribute(DEFER, struct.pack("=I", int(values[0]))) + attribute(FLUSH, struct.pack("=I", int(values[1])))
            for napi in instances:
                netlink.ask(family, NAPI_SET, attribute(ID, napi[ID]) + body, ACK)
            instances = netlink.ask(family, NAPI_GET, attribute(IFINDEX, index), DUMP)
        instances.sort(key=lambda napi: number(napi[ID]))
        print(json.dumps([[number(napi[DEFER]), number(napi[FLUSH])] for napi in instances]))
    except (OSError, KeyError) as e:
        print(f"{interface}: {e!r}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
