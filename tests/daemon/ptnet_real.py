# SPDX-License-Identifier: BSD-2-Clause
"""A real netmapd and what the tests of it need: its process, its protocol, its rings.

Netmapd starts the program of $PTNETMAP_BUILD, else of build/ beside tests/, and
sees to it that it ends well. Connection speaks proto/proto.h byte by byte, and
so can say what no library would. Port is an application by hand: it maps the
region and the CSB of a registration. All of that works the same when netmapd was
built with sanitizers.
"""

import array
import contextlib
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PTNETMAP_BUILD", REPO / "build")).resolve()
NETMAPD = BUILD / "netmapd/netmapd"
NETMAPCTL = BUILD / "tools/netmapctl"
PKT_GEN = BUILD / "apps/pkt-gen"
NMAPP = BUILD / "tests/daemon/nmapp"

PATIENCE = 30  # seconds; only a failure takes so long
NO_MEMORY = BUILD / "tests/daemon/libno_memory.so"      # no_memory.c
REFUSED_MEMORY = "no_memory.c: there is none"     # in the log, where it did that
SANITIZED = b"__asan_init" in NETMAPD.read_bytes() if NETMAPD.exists() else False

# An error ends the program; memory given back is reused soon, so that it can be measured.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def environment(path=None, **more):
    """That of a program under test: no netmapd and no /dev/netmap of this machine, but the one at `path`."""
    env = {k: v for k, v in os.environ.items() if k not in ("XDG_RUNTIME_DIR", "JOURNAL_STREAM", "NETMAPD_SOCKET", "COLUMNS")}
    env |= {"NETMAP_BACKEND": "daemon", **SANITIZERS, **more}
    if path:
        env["NETMAPD_SOCKET"] = str(path)
    return env


@contextlib.contextmanager
def user(uid):
    """Connections made meanwhile are this user's."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def wait_until(condition, what, seconds=PATIENCE):
    """Returns the first true value of condition()."""
    end = time.monotonic() + seconds
    pause = 0.0001
    while not (value := condition()):
        assert time.monotonic() < end, f"{seconds} s have passed, but not: {what}"
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return value


def run(*args, **kwargs):
    kwargs = {"env": environment(), "timeout": 2 * PATIENCE, **kwargs}
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, stdin=subprocess.DEVNULL, **kwargs)


def expect_line(result, status, name, *texts):
    """One line on stderr that says who and what, nothing on stdout."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"{name}: ") and result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1, result.stderr
    for text in texts:
        assert text in result.stderr


# ------------------------------------------------------------ the process


def without_requests():
    """In a child, before exec: io_setup() fails, as it does when others have used up fs.aio-max-nr."""
    load, jump_equal, ret = 0x20, 0x15, 0x06  # instructions of a filter (BPF): of the system call's number
    io_setup, allow, fail = 206, 0x7FFF0000, 0x00050000 | errno.EAGAIN
    code = [(load, 0, 0, 0), (jump_equal, 0, 1, io_setup), (ret, 0, 0, fail), (ret, 0, 0, allow)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in code))
    filter_ = struct.pack("@HP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privs, set_seccomp, mode_filter = 38, 22, 2
    if libc.prctl(set_no_new_privs, 1, 0, 0, 0) or libc.prctl(set_seccomp, mode_filter, filter_, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls")


class Netmapd:
    """A running netmapd. stop() and check_end() belong to the test: see conftest.py."""

    def __init__(self, place, *options, path=None, env=None, expect_ready=True, nics=False, sandbox="strict", **kwargs):
        """nics: interfaces can be ports. A name that happens to be one of this machine's must not take it from the machine."""
        options = (*options, *(() if nics else ("--nic", "off")))
        if sandbox:
            options = ("--sandbox", sandbox, *options)
        # Those to the processes which start netmapd-nic and look users up are two.
        starter = nics and os.getuid() == 0 and "--nic" not in options and sandbox != "off"
        self.sockets = 1 + starter + bool({"--config", "--policy"} & set(options))
        self.place = Path(place)
        self.path = Path(path or self.place / "socket")
        self.log_file = self.place / "netmapd.stderr"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [NETMAPD, "--socket", self.path, *options],
                env=environment() | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=kwargs.pop("stderr", log),
                **kwargs,
            )
        self.pid = self.process.pid
        if expect_ready:
            wait_until(lambda: self.answers() or self.process.poll() is not None, "netmapd answers")
            assert self.process.poll() is None, self.log()
            self.at_rest()

    def answers(self):
        try:
            with Connection(self.path) as c:
                return c.hello() == self.pid
        except OSError:
            return False

    def log(self):
        return self.log_file.read_text(errors="replace")

    def logged(self, text):
        """log(), when the text is in it: a thread of netmapd's writes it."""
        return wait_until(lambda: text in (log := self.log()) and log, f"the log has: {text}")

    def status(self):
        with Connection(self.path) as c:
            return c.status()

    def ring(self, port, direction, number=0):
        """One ring of a port, as status shows it."""
        return next(
            r
            for p in self.status()["ports"]
            if p["name"] == port
            for r in p["rings"]
            if (r["dir"], r["id"]) == (direction, number)
        )

    def ports(self):
        return sorted(p["name"] for p in self.status()["ports"])

    def descriptors(self):
        """What each open descriptor is, without the numbers that differ from file to file."""
        found = []
        for fd in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(fd).split(":[")[0])
        return sorted(found)

    def at_rest(self):
        """descriptors(), when nobody is connected any more."""
        return wait_until(lambda: (found := self.descriptors()).count("socket") == self.sockets and found, "all have left")

    def mappings(self):
        """How many there are of packet memory and of CSBs."""
        return sum("/memfd:" in line for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines())

    def memory_kb(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def thread_names(self):
        """Of those that are there; one may end while they are read."""
        found = []
        for comm in Path(f"/proc/{self.pid}/task").glob("*/comm"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.append(comm.read_text().strip())
        return found

    def threads(self, closers=False):
        """How many there are; with those that close what clients had, which come and go as they like, or without."""
        names = self.thread_names()
        return len(names) if closers else len([name for name in names if name not in ("closer", "closer-device")])

    def workers(self):
        """The names of the threads that serve rings."""
        return sorted(name for name in self.thread_names() if name.startswith("worker-"))

    def cpu_ticks(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def stop(self, how=signal.SIGTERM):
        """Ends it, if it hasn't ended, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"netmapd does not end; its log: {self.log()}") from None

    def check_end(self):
        """It has ended well, and left nothing behind it but its lock and its log."""
        status = self.stop()
        log = self.log()
        assert "Sanitizer" not in log and "runtime error" not in log, log
        assert status == 0, f"{status}: {log}"
        assert not self.path.exists()
        assert list(self.path.parent.glob("vm*")) == []


# ------------------------------------------------------------ applications


def spawn(program, *args, path):
    """An application in the background, with pipes of text."""
    return subprocess.Popen(
        [program, *map(str, args)], env=environment(path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )


def finish(child, status=0):
    """Waits for its end; returns what it wrote."""
    try:
        output, errors = child.communicate(timeout=2 * PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        raise AssertionError(f"{child.args} does not end: {child.communicate()}") from None
    assert child.returncode == status, f"{child.args}: {output}{errors}"
    return output + errors


class CheckedTraffic:
    """pkt-gen to pkt-gen, paced, with room for more than a second of packets at the receiver."""

    def __init__(self, daemon, switch, rate):
        self.names = [f"{switch}:checked-{f}" for f in ("rx", "tx")]
        self.daemon = daemon
        common = ("--check", "-T", "100")
        self.rx = spawn(PKT_GEN, "-i", f"{self.names[0]}@conf:rx-slots=16384", "-f", "rx", *common, path=daemon.path)
        wait_until(lambda: self.names[0] in daemon.ports(), "the receiver is there")
        self.tx = spawn(PKT_GEN, "-i", self.names[1], "-f", "tx", "-R", rate, *common, path=daemon.path)
        wait_until(lambda: self.names[1] in daemon.ports(), "the sender is there")

    def finish(self):
        """Ends both; returns the number of packets."""
        self.tx.send_signal(signal.SIGINT)
        sent = int(finish(self.tx).split("Sent ")[1].split()[0])
        # It doesn't read any more when it is told to end.
        wait_until(lambda: self.daemon.ring(self.names[0], "rx")["fill"] == 0, "all is read")
        self.rx.send_signal(signal.SIGINT)
        output = finish(self.rx)
        assert f"Check: received {sent} lost 0 reordered 0 duplicate 0 corrupt 0" in output, (sent, output)
        return sent

    def kill(self):
        for child in self.rx, self.tx:
            child.kill()
            child.communicate()


# ------------------------------------------------------------ the protocol

MAGIC, VERSION, TEXT, MSG_MAX, REQ_MAX = 0x746E7470, 1, 256, 16384, 4096
HELLO, NMREQ, VM_CREATE, VM_ADD_PORT, STATUS, VALE_MACS, VALE_FLUSH, EVENTS, RENAME, LIMIT, SET, FULL_WAIT = range(1, 13)
HDR = struct.Struct("=IHHIi")
REPLY = HDR.size + TEXT
ATTACH = struct.Struct("=QQQIIIIII")
NMREQ_REPLY = REPLY + ATTACH.size + 8

REGISTER, PORT_INFO_GET, VALE_ATTACH, VALE_DETACH, VALE_LIST = 1, 2, 3, 4, 5
PORT_HDR_SET, PORT_HDR_GET, VALE_NEWIF, VALE_DELIF, POLLING_ENABLE, POLLING_DISABLE, POOLS_INFO_GET = 6, 7, 8, 9, 10, 11, 12
ALL_NIC, SW, NIC_SW, ONE_NIC, PIPE_MASTER, PIPE_SLAVE, NULL_REG, ONE_SW = range(1, 9)
MONITOR_TX, MONITOR_RX, ZCOPY_MON, EXCLUSIVE, RX_ONLY, TX_ONLY, ACCEPT_VNET_HDR = 0x100, 0x200, 0x400, 0x800, 0x2000, 0x4000, 0x8000
NMREQ_HEADER = struct.Struct("=HHI64sQQ")
NMREQ_REGISTER = struct.Struct("=QQIIHHHHHHII4xQ")
REGISTER_FIELDS = (
    "offset memsize tx_slots rx_slots tx_rings rx_rings host_tx_rings host_rx_rings mem_id ringid mode extra_bufs flags"
).split()
OPTION = struct.Struct("=QIIQ")


class Refused(Exception):
    """A reply with an error: errno (positive) and text."""

    def __init__(self, errno, text, payload=b""):
        super().__init__(f"{os.strerror(errno)}: {text}")
        self.errno, self.text, self.payload = errno, text, payload


def message(kind, body=b"", magic=MAGIC, version=VERSION, size=None):
    return HDR.pack(magic, version, kind, HDR.size + len(body) if size is None else size, 0) + body


def nmreq(kind, name="", body=b"", body_at=NMREQ_HEADER.size, options=b"", options_at=None, version=14, reserved=0):
    """A flattened control request. Offsets that are None are the right ones."""
    if options_at is None:
        options_at = NMREQ_HEADER.size + len(body) if options else 0
    name = name if isinstance(name, bytes) else name.encode()
    return NMREQ_HEADER.pack(version, kind, reserved, name, options_at, body_at) + body + options


def extmem_option(bytes_, ifs=0, rings=0, bufs=0):
    """struct nmreq_opt_extmem: counts of objects, 0: what suits."""
    info = struct.pack("=QH6xQIIQIIQII", bytes_, 0, 0, ifs, 0, 0, rings, 0, 0, bufs, 0)
    return OPTION.pack(0, 1, 0, 0) + struct.pack("=Q", 0x10000) + info


def offsets_option(max_offset, bits=16, initial=0, min_gap=0):
    """struct nmreq_opt_offsets."""
    return OPTION.pack(0, 5, 0, 0) + struct.pack("=QQIIQ", max_offset, initial, bits, 0, min_gap)


def register(name, options=b"", **fields):
    """The payload of a REGISTER."""
    values = {"mode": ALL_NIC, **fields}
    assert set(values) <= set(REGISTER_FIELDS)
    return nmreq(REGISTER, name, NMREQ_REGISTER.pack(*(values.get(f, 0) for f in REGISTER_FIELDS)), options=options)


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Not settimeout(): connect() has to wait while the queue of netmapd's socket is full.
        for option in socket.SO_SNDTIMEO, socket.SO_RCVTIMEO:
            self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE, 0))
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data, fds=()):
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.send(data)

    def receive(self):
        """(message, descriptors); b"" when netmapd has closed the connection."""
        try:
            data, control, flags, _ = self.socket.recvmsg(MSG_MAX, socket.CMSG_SPACE(4 * 140))
        except ConnectionResetError:
            return b"", []
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        fds = array.array("i")
        for level, kind, content in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(content)
        return data, list(fds)

    def is_closed(self):
        """By netmapd, now or soon."""
        data, fds = self.receive()
        assert data == b"" and fds == [], data
        return True

    def ask(self, kind, body=b"", fds=()):
        """Sends a request; returns what follows the common part of the reply, and descriptors."""
        self.send(message(kind, body), fds)
        data, fds = self.receive()
        if not data:
            raise ConnectionResetError
        magic, version, rkind, size, status = HDR.unpack_from(data)
        assert (magic, version, rkind, size) == (MAGIC, VERSION, kind, len(data))
        text = data[HDR.size : REPLY]
        assert b"\0" in text
        text = text.split(b"\0")[0].decode()
        if status == 0:
            assert text == ""
            return data[REPLY:], fds
        assert status < 0 and fds == []
        assert text and text.isprintable(), text
        raise Refused(-status, text, data[NMREQ_REPLY:])

    def hello(self):
        """The process id of netmapd."""
        return struct.unpack_from("=I", self.ask(HELLO)[0])[0]

    def status(self):
        text = b""
        while True:
            part, _ = self.ask(STATUS, struct.pack("=II", len(text), 0))
            total, length = struct.unpack_from("=II", part)
            assert len(part) == 8 + length
            if length == 0:
                assert len(text) == total
                return json.loads(text)
            text += part[8:]

    def nmreq(self, payload, fds=()):
        """Returns (attach, payload, descriptors); attach: the numbers of struct nmd_attach."""
        body, fds = self.ask(NMREQ, payload, fds)
        attach = ATTACH.unpack_from(body)
        nfds, length = struct.unpack_from("=II", body, ATTACH.size)
        assert nfds == len(fds) and length == len(payload) == len(body) - ATTACH.size - 8
        return attach, body[ATTACH.size + 8 :], fds

    def info(self, kind, name, layout, body=None):
        """Any other control request with a body of this layout."""
        body = bytes(struct.calcsize(layout)) if body is None else body
        _, payload, fds = self.nmreq(nmreq(kind, name, body))
        assert fds == []
        return struct.unpack_from(layout, payload, NMREQ_HEADER.size)

    def macs(self, switch):
        """(address, number of the port, age in seconds, name of the port) of all addresses of a switch."""
        found, pos = [], 0
        while True:
            body, _ = self.ask(VALE_MACS, struct.pack("=Q64s", pos, switch.encode()))
            pos, count, _ = struct.unpack_from("=QII", body)
            if count == 0:
                return found
            for i in range(count):
                address, port, age, name = struct.unpack_from("=6s2xII64s", body, 16 + 80 * i)
                found.append((address, port, age, name.split(b"\0")[0].decode()))

    def flush(self, switch):
        assert self.ask(VALE_FLUSH, switch.encode().ljust(64, b"\0")) == (b"", [])

    def vm_create(self, name=b"", bar_min=0):
        return struct.unpack("=II", self.ask(VM_CREATE, struct.pack("=64sQ", name, bar_min))[0])[0]

    def vm_add_port(self, name, mac=bytes(6)):
        """(path of the network function, path of the memory function, MAC address)"""
        body, _ = self.ask(VM_ADD_PORT, name.encode().ljust(256, b"\0") + mac + b"\0\0")
        net, mem, mac = struct.unpack("=108s108s6s2x", body)
        return net.split(b"\0")[0].decode(), mem.split(b"\0")[0].decode(), mac


# ------------------------------------------------------------ an application by hand

CSB_ENTRY = 64
RING_HEADER = struct.Struct("=qIIHHIIII")
RING_SLOTS = 256  # bytes from the start of a ring
SLOT = struct.Struct("=IHHQ")
MOREFRAG, INDIRECT, BUF_CHANGED, NO_LEARN = 0x20, 0x10, 1, 8


class Ring:
    """One ring: its slots in the region, its indices in the CSB. All geometry is private."""

    def __init__(self, port, offset, number, kick):
        self.port, self.offset, self.kick_fd = port, offset, kick
        self.buf_ofs, self.slots, self.buf_size, self.id, self.dir, *_ = RING_HEADER.unpack_from(port.region, offset)
        self.atok = CSB_ENTRY * number // 4
        self.ktoa = (port.ktoa_offset + CSB_ENTRY * number) // 4
        self.head, self.cur = port.csb[self.atok], port.csb[self.atok + 1]

    def publish(self, head, cur=None):
        """Stores any head and cur, and kicks."""
        self.head, self.cur = head, head if cur is None else cur
        self.port.csb[self.atok + 1] = self.cur
        self.port.csb[self.atok] = self.head
        self.kick()

    def kick(self):
        os.write(self.kick_fd, struct.pack("=Q", 1))

    def hw(self):
        """(hwcur, hwtail)"""
        hwtail = self.port.csb[self.ktoa + 1]
        return self.port.csb[self.ktoa], hwtail

    def space(self):
        return (self.hw()[1] - self.head) % self.slots

    def next(self, i, by=1):
        return (i + by) % self.slots

    def slot(self, i):
        """(buf_idx, len, flags, ptr)"""
        return SLOT.unpack_from(self.port.region, self.offset + RING_SLOTS + SLOT.size * i)

    def set_slot(self, i, *values):
        SLOT.pack_into(self.port.region, self.offset + RING_SLOTS + SLOT.size * i, *values)

    def send_slots(self, *slots):
        """Slots as they are given, (buf_idx, len, flags, ptr) each, are sent, and taken on return."""
        at = self.head
        for values in slots:
            self.set_slot(at, *values)
            at = self.next(at)
        self.publish(at)
        wait_until(lambda: self.hw()[0] == at, "the slots are taken")

    def buffer(self, index):
        """Offset of a buffer in the region."""
        return self.offset + self.buf_ofs + self.buf_size * index

    def want_interrupt(self, wanted):
        self.port.csb[self.atok + 2] = wanted


class Port:
    """A registration, mapped."""

    def __init__(self, path, name, options=b"", send=(), **fields):
        """options: behind the body; send: descriptors that go along."""
        self.connection = Connection(path)
        self.fds = []
        try:
            self.name = name
            request = register(name, options=options, **fields)
            self.attach, payload, self.fds = self.connection.nmreq(request, send)
        except BaseException:
            self.connection.close()
            raise
        self.reg = dict(zip(REGISTER_FIELDS, NMREQ_REGISTER.unpack_from(payload, NMREQ_HEADER.size)))
        region_size, csb_size, self.ktoa_offset, rings, tx, rx, first_tx, first_rx, _ = self.attach
        assert rings == tx + rx and len(self.fds) - 4 == min(rings, 128)
        self.region = mmap.mmap(self.fds[0], region_size)
        self.csb_map = mmap.mmap(self.fds[1], csb_size)
        # As words, which are loaded and stored at once; pack_into() would store 0 first, then byte by byte.
        self.csb = memoryview(self.csb_map).cast("I")
        self.irq = {"tx": self.fds[2], "rx": self.fds[3]}
        self.tx = [self._ring(first_tx + i, 0, i) for i in range(tx)]
        self.rx = [self._ring(first_rx + i, 1, tx + i) for i in range(rx)]

    def _ring(self, index, direction, number):
        """netmap_if: 16 bytes name, version, flags, rings tx, rx, bufs_head, host rings tx, rx, 3 spare."""
        nifp = self.reg["offset"]
        num_tx, _, _, host_tx, _ = struct.unpack_from("=IIIII", self.region, nifp + 24)
        entry = index + (num_tx + host_tx if direction else 0)
        (offset,) = struct.unpack_from("=q", self.region, nifp + 56 + 8 * entry)
        return Ring(self, nifp + offset, number, self.fds[4 + number % (len(self.fds) - 4)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Lets go of all of it; the connection last, so that netmapd ends the registration then."""
        self.region.close()
        self.csb.release()
        self.csb_map.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.connection.close()

    # Moving packets: whole packets, one slot each unless `fragments` says otherwise.

    def put(self, packet, ring=0, fragments=None, flags=0):
        """Writes a packet into free slots; returns the head behind it. publish() sends it."""
        tx = self.tx[ring]
        at, done = tx.head, 0
        lengths = fragments or [len(packet)]
        assert sum(lengths) == len(packet)
        for i, n in enumerate(lengths):
            index = tx.slot(at)[0]
            start = tx.buffer(index)
            self.region[start : start + n] = packet[done : done + n]
            more = MOREFRAG if i + 1 < len(lengths) else 0
            tx.set_slot(at, index, n, flags | more, 0)
            at, done = tx.next(at), done + n
        return at

    def send(self, *packets, ring=0, **kwargs):
        """Sends, and waits until netmapd has taken all."""
        tx = self.tx[ring]
        for packet in packets:
            wait_until(lambda: tx.space() >= len(kwargs.get("fragments") or [1]), f"room in the tx ring of {self.name}")
            tx.publish(self.put(packet, ring, **kwargs))
        wait_until(lambda: tx.hw()[0] == tx.head, f"{self.name}'s packets are taken")

    def received(self, ring=0):
        """The packets that are there, and gives the slots back."""
        rx = self.rx[ring]
        packets, packet = [], b""
        tail = rx.hw()[1]
        at = rx.head
        while at != tail:
            index, length, flags, _ = rx.slot(at)
            start = rx.buffer(index)
            packet += self.region[start : start + length]
            at = rx.next(at)
            if not flags & MOREFRAG:
                packets.append(packet)
                packet = b""
                rx.publish(at)
        return packets

    def receive(self, count, ring=0, seconds=PATIENCE):
        """Exactly `count` packets; netmapd has their slots back then."""
        packets = []
        end = time.monotonic() + seconds
        while len(packets) < count:
            packets += self.received(ring)
            assert time.monotonic() < end, f"{len(packets)} of {count} packets came to {self.name}"
        assert len(packets) == count
        wait_until(lambda: self.rx[ring].hw()[0] == self.rx[ring].head, f"{self.name}'s slots are given back")
        return packets

    def buffers(self, direction, ring=0):
        """The buffer indices of all slots of a ring."""
        r = (self.tx if direction == "tx" else self.rx)[ring]
        return [r.slot(i)[0] for i in range(r.slots)]

    def extra_buffers(self):
        """The list that begins in the netmap_if."""
        nifp = self.reg["offset"]
        (at,) = struct.unpack_from("=I", self.region, nifp + 32)
        found, ring = [], (self.tx + self.rx)[0]
        while at:
            found.append(at)
            (at,) = struct.unpack_from("=I", self.region, ring.buffer(at))
            assert len(found) <= self.reg["extra_bufs"]
        return found

    def interrupted(self, direction, seconds=PATIENCE):
        """Waits for the eventfd of a direction and empties it."""
        if not select.select([self.irq[direction]], [], [], seconds)[0]:
            return False
        os.read(self.irq[direction], 8)
        return True


def mac(n):
    return bytes([2, 0, 0, 0, 0, n])


BROADCAST = b"\xff" * 6


def frame(dst, src, payload=b"", length=60):
    """An Ethernet frame; dst and src are numbers of stations (mac()), or six bytes."""
    dst, src = (x if isinstance(x, bytes) else mac(x) for x in (dst, src))
    return (dst + src + b"\x88\xb5" + payload).ljust(length, b"\0")
