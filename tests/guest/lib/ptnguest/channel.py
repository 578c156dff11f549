# SPDX-License-Identifier: BSD-2-Clause
"""The harness's end of the channel to the agent in a guest (see agent.c for the frames)."""

import socket
import struct
import threading

HELLO, RUN, KILL, OUTPUT, EXIT = 1, 2, 3, 4, 5
_HEADER = struct.Struct("<III")
_SEND_S = 120       # an agent that takes nothing for so long is gone


class Channel:
    """Sends commands, and sorts what comes back.

    One thread of its own reads; the methods may be called from any thread.
    `hellos` counts the starts of the agent: when it grows, the guest was started anew and
    the commands of before are gone.
    """

    def __init__(self, sock):
        self._sock = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_S, 0))
        self._send_lock = threading.Lock()
        self._changed = threading.Condition()
        self._next_id = 1
        self._live = {}         # id -> _State
        self.hellos = 0
        self.closed = False
        threading.Thread(target=self._receive, name="guest channel", daemon=True).start()

    class State:
        """Of one command. `exit` is its status once it ended, "lost" when the guest went away before."""
        def __init__(self):
            self.output = bytearray()
            self.exit = None

    def run(self, command):
        """Starts a shell command; returns (id, state)."""
        state = self.State()
        with self._changed:
            ident = self._next_id
            self._next_id += 1
            if self.closed:
                state.exit = "lost"
                return ident, state
            self._live[ident] = state
        self._send(ident, RUN, command.encode())
        return ident, state

    def kill(self, ident, signo):
        self._send(ident, KILL, struct.pack("<I", signo))

    def wait_for(self, condition, timeout):
        """Waits until condition() is true, which is asked again after every frame; returns its last value."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def close(self):
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _send(self, ident, kind, payload):
        with self._send_lock:
            try:
                self._sock.sendall(_HEADER.pack(len(payload), ident, kind) + payload)
            except OSError:
                self.close()    # the reader sees the end as well, and marks what is lost

    def _read_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self._sock.recv(size - len(data))
            if not part:
                raise ConnectionError
            data += part
        return bytes(data)

    def _lose_all(self):
        for state in self._live.values():
            state.exit = "lost"
        self._live.clear()

    def _handle(self, ident, kind, payload):
        if kind == HELLO:
            self._lose_all()
            self.hellos += 1
        elif ident in self._live and kind == OUTPUT:
            self._live[ident].output += payload
        elif ident in self._live and kind == EXIT:
            self._live.pop(ident).exit = struct.unpack("<I", payload)[0]

    def _receive(self):
        try:
            while True:
                size, ident, kind = _HEADER.unpack(self._read_exactly(_HEADER.size))
                payload = self._read_exactly(size)
                with self._changed:
                    self._handle(ident, kind, payload)
                    self._changed.notify_all()
        except OSError:
            with self._changed:
                self.closed = True
                self._lose_all()
                self._changed.notify_all()
        self._sock.close()
