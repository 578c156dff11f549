#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A netmapd that serves for hours, with all who come and go: `make soak HOURS=2`.

    tests/soak/soak.py [--hours HOURS | --cycles N] [--seed SEED] [--place DIRECTORY] [--guests N] [--actors N]

Some stay the whole time, and nothing of theirs may be lost, changed or reordered: two machines with a stream
each way through a switch, two applications with a pipe, and with --guests real machines, each with an
application inside that sends to one outside through a pipe. In each cycle others come and go
around them, chosen at random: machines and applications with checked streams, hostile machines, applications
that write nonsense into their rings (nmstress), connections that send garbage, that never read,
that stop in the middle of a message. Some end well, others are killed. Meanwhile netmapd's limits of
descriptors and of memory are taken down to what it uses, for a moment. (A control connection that reads nothing
makes netmapd's writes short.)

At the end of each cycle the guests of the cycle leave, and what netmapd holds is looked at: descriptors, threads,
ports and mappings must be those of the first cycles, its own memory must not grow (Pss without regions, whose pages
belong to those who stay, and come as they are touched). All random
numbers follow from the seed. The report is printed; the exit status is 0 only when all held. Otherwise the logs are kept.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / room) for room in ("daemon", "guest", "guest/lib")]
import ptnet_real as real  # noqa: E402: found by the line above

VFIO = real.BUILD / "tests/soak/soak_vfio"
STRESS = real.BUILD / "tests/api/nmstress"
REFUSED = 75                # of soak_vfio: netmapd refused what it needs
WARM_CYCLES = 2             # then everything has been used once
GROWTH_KB = 4096            # of its own memory, from the first cycles to the last ones: the allocator's own disorder
PACKETS_KB = 128 << 10      # the same of packet memory: pages of regions of those who stay, as they are touched
PATIENCE = 300              # seconds; only a failure takes so long: a soak runs beside other work, at low priority


class Failure(Exception):
    pass


@dataclass
class Tally:
    actors: dict = field(default_factory=dict)      # name -> [ended well, killed, refused]
    faults: dict = field(default_factory=dict)
    samples: list = field(default_factory=list)     # of each cycle: what netmapd holds
    packets: dict = field(default_factory=dict)     # of those who stay


# ---- those who stay -------------------------------------------------------------------------------------

class Flow:
    """Two machines, checked by soak_vfio."""
    name = "machines"

    def __init__(self, soak, switch, seed=0):
        self.log = soak.place / f"{switch}.out"
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen([VFIO, "flow", soak.daemon.path, switch, str(seed)], stdout=out, stderr=subprocess.STDOUT)

    def lines(self):
        return [line for line in self.log.read_text(errors="replace").splitlines() if line.isdigit()]

    def count(self):
        if self.child.poll() is not None:
            raise Failure(f"{self.name}: ended with {self.child.returncode}: {self.log.read_text(errors='replace')[-300:]}")
        lines = self.lines()
        return int(lines[-1]) if lines else 0

    def finish(self):
        self.count()
        self.child.terminate()
        if self.child.wait(PATIENCE) != 0:
            raise Failure(f"{self.name}: ends with {self.child.returncode}: {self.log.read_text(errors='replace')[-300:]}")
        return int(self.lines()[-1])

    def kill(self):
        kill(self.child)


class Pipe:
    """pkt-gen at both ends: a pipe's sender waits, so nothing may be lost however slow the receiver is."""
    name = "applications"

    def __init__(self, soak, base, rate):
        self.soak, self.ends = soak, [f"{base}{{s", f"{base}}}s"]
        self.rx = self.start(self.ends[0], "rx")
        real.wait_until(lambda: self.ends[0] in soak.daemon.ports(), "the receiver is there", PATIENCE)
        self.tx = self.start(self.ends[1], "tx", "-R", rate)

    def start(self, port, what, *more):
        return real.spawn(real.PKT_GEN, "-i", port, "-f", what, "--check", "-T", "3600000", *more, path=self.soak.daemon.path)

    def count(self):
        for child in self.rx, self.tx:
            if child.poll() is not None:
                raise Failure(f"{self.name}: {child.args} ended with {child.returncode}: {child.communicate()}")
        return self.soak.daemon.ring(self.ends[0], "rx")["packets"]

    def finish(self):
        self.tx.send_signal(signal.SIGINT)
        sent = int(real.finish(self.tx).split("Sent ")[1].split()[0])
        real.wait_until(lambda: self.soak.daemon.ring(self.ends[0], "rx")["packets"] >= sent, "all has arrived", PATIENCE)
        time.sleep(0.5)
        self.rx.send_signal(signal.SIGINT)
        output = real.finish(self.rx)
        if f"received {sent} lost 0 reordered 0 duplicate 0 corrupt 0" not in output:
            raise Failure(f"{self.name}: {sent} packets sent: {output[-300:]}")
        return sent

    def kill(self):
        kill(self.rx)
        kill(self.tx)


class Machine:
    """A QEMU with the module: pkt-gen inside sends through a pipe to pkt-gen outside."""
    name = "guests"

    def __init__(self, soak, number, rate):
        import netlab
        import ptnguest

        kernel = ptnguest.Kernel.get("6.12")
        initramfs = netlab.build_initramfs(kernel, next(k for k in ptnguest.build_module(kernel) if k.name == "netmap.ko"))
        self.soak, self.end = soak, f"valeguest{number}:g}}s"
        self.rx = real.spawn(real.PKT_GEN, "-i", self.end, "-f", "rx", "--check", "-T", "3600000", path=soak.daemon.path)
        self.guest = netlab.Node(kernel, initramfs, SimpleNamespace(socket=soak.daemon.path), 1, f"soak-{number}",
                                 ifname=f"valeguest{number}:g{{s", log_dir=soak.place)
        self.guest.start(PATIENCE)
        self.guest.load()
        self.tx = self.guest.spawn(f"pkt-gen -i data -f tx -w 0 --check -T 3600000 -R {rate}")

    def count(self):
        self.guest.assert_clean_log()
        if not self.tx.running or self.rx.poll() is not None:
            raise Failure(f"{self.name}: pkt-gen has ended: {self.tx.output[-300:]}")
        return self.soak.daemon.ring(self.end, "rx")["packets"]

    def finish(self):
        self.tx.kill(signal.SIGINT)
        sent = int(self.tx.wait(PATIENCE).out.split("Sent ")[1].split()[0])
        real.wait_until(lambda: self.count_now() >= sent, "all has arrived", PATIENCE)
        time.sleep(0.5)
        self.rx.send_signal(signal.SIGINT)
        output = real.finish(self.rx)
        if f"received {sent} lost 0 reordered 0 duplicate 0 corrupt 0" not in output:
            raise Failure(f"{self.name}: {sent} packets sent: {output[-300:]}")
        self.guest.assert_clean_log()
        self.guest.close()
        return sent

    def count_now(self):
        return self.soak.daemon.ring(self.end, "rx")["packets"]

    def kill(self):
        self.guest.close()
        kill(self.rx)


# ---- those who come and go ------------------------------------------------------------------------------

def kill(child):
    """And its children: each actor is a session of its own."""
    if child.poll() is None:
        child.kill()
    child.communicate()


def as_nice_as_we():
    """A session has a share of the CPU of its own where the kernel groups processes by that: as large as ours."""
    group = Path("/proc/self/autogroup")
    if group.exists() and os.nice(0) > 0:
        group.write_text(str(os.nice(0)))


def has_ended(child):
    """Without taking its status: until then no other process gets its number."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def spawn_actor(*args, path, log):
    with open(log, "ab") as out:
        return subprocess.Popen([str(a) for a in args], env=real.environment(path), stdin=subprocess.DEVNULL, stdout=out,
                                stderr=out, start_new_session=True, preexec_fn=as_nice_as_we)


@dataclass
class Kind:
    """args(soak, number, seed): a command. ends: what its exit status may be when it was asked to end."""
    args: object
    ends: tuple = (0,)
    sane: bool = True       # what it reports counts: a packet lost is a failure


def garbage(soak, number, seed):
    return [sys.executable, __file__, "--garbage", soak.daemon.path, str(seed)]


EARLY = -signal.SIGTERM     # asked to end before it could hear: on a busy machine a program can take seconds to begin
KINDS = {
    "machines": Kind(lambda soak, n, seed: [VFIO, "flow", soak.daemon.path, f"valef{n}", seed], (0, REFUSED, EARLY)),
    "hostile machine": Kind(lambda soak, n, seed: [VFIO, "hostile", soak.daemon.path, f"valeh{n % 2}", seed],
                            (0, 1, REFUSED, EARLY), False),
    "nmstress": Kind(lambda soak, n, seed: [STRESS, 3600, 3, seed], (0, 1, -signal.SIGTERM), False),
    "garbage": Kind(garbage, (0, 1, -signal.SIGTERM), False),
}


def random_garbage(path, seed):
    """--garbage: one connection after the other that says what nobody should."""
    rng = random.Random(seed)
    asked = [(real.HELLO, b""), (real.STATUS, bytes(8)), (real.NMREQ, real.register("valex:g")), (real.VM_CREATE, bytes(72))]
    while True:
        try:
            with real.Connection(path) as c:
                for _ in range(rng.randrange(1, 30)):
                    kind, body = rng.choice(asked)
                    data = bytearray(real.message(kind, body))
                    for _ in range(rng.randrange(4)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    fds = [socket.socketpair()[0].detach() for _ in range(rng.choice((0, 0, 0, 1, 5)))]
                    try:
                        c.socket.settimeout(1)
                        c.send(bytes(data[:rng.choice((len(data), len(data), rng.randrange(1, len(data))))]), fds)
                        if rng.random() < 0.5:      # else never read: answers pile up
                            c.receive()
                    finally:
                        for fd in fds:
                            os.close(fd)
        except (OSError, AssertionError):
            time.sleep(0.01)


# ---- the soak -------------------------------------------------------------------------------------------

class Soak:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.place = Path(args.place or tempfile.mkdtemp(prefix="ptnet-soak-"))
        self.place.chmod(0o755)
        self.tally = Tally()
        self.daemon = real.Netmapd(self.place, "--workers", "2")
        self.stay, self.actors = [], []
        self.next = 0

    def start(self):
        self.stay = [Flow(self, "valestay"), Pipe(self, "valestaypipe:a", 2000)]
        self.stay += [Machine(self, i, 1000) for i in range(self.args.guests)]
        self.progress()

    def progress(self):
        """Those who stay all get on."""
        before = [s.count() for s in self.stay]
        for s, old in zip(self.stay, before):
            real.wait_until(lambda s=s, old=old: s.count() > old, f"packets of the {s.name} that stay", PATIENCE)
        self.tally.packets = {s.name: s.count() for s in self.stay}

    # -- actors

    def add_actor(self):
        name = self.rng.choice(list(KINDS))
        kind = KINDS[name]
        self.next += 1
        log = self.place / f"actor-{self.next}.out"
        child = spawn_actor(*kind.args(self, self.next, self.rng.randrange(1, 1 << 30)), path=self.daemon.path, log=log)
        self.actors.append((name, kind, child, log, time.monotonic() + self.rng.uniform(0.2, 4)))

    def end_actor(self, entry, how):
        name, kind, child, log, _ = entry
        done = self.tally.actors.setdefault(name, [0, 0, 0])
        running = has_ended(child) is False
        if running:
            os.killpg(child.pid, how)
        end = time.monotonic() + PATIENCE
        while not (ended := has_ended(child)) and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)        # the children of one that was killed; its number is not free yet
        status = child.wait()
        if not ended:
            raise Failure(f"{name} does not end: {log}")
        if status == REFUSED and kind.ends:
            done[2] += 1
        elif how == signal.SIGKILL and running:
            done[1] += 1
        elif status in kind.ends or not kind.sane:
            done[0] += 1
        else:
            raise Failure(f"{name} ends with {status}: {log}: {log.read_text(errors='replace')[-300:]}")
        log.unlink()

    def reap(self, everybody=False):
        for entry in list(self.actors):
            if everybody or has_ended(entry[2]) or time.monotonic() > entry[4]:
                self.actors.remove(entry)
                self.end_actor(entry, self.rng.choice((signal.SIGTERM, signal.SIGKILL)))

    # -- faults

    def limit(self, what, value, seconds):
        name = {resource.RLIMIT_NOFILE: "descriptors", resource.RLIMIT_AS: "memory"}[what]
        soft, hard = resource.prlimit(self.daemon.pid, what)
        resource.prlimit(self.daemon.pid, what, (value, hard))
        time.sleep(seconds)
        resource.prlimit(self.daemon.pid, what, (soft, hard))
        self.tally.faults[name] = self.tally.faults.get(name, 0) + 1

    def inject(self):
        seconds = self.rng.uniform(0.05, 0.5)
        if self.rng.random() < 0.5 or real.SANITIZED:     # a sanitizer can't do without memory
            used = len(list(Path(f"/proc/{self.daemon.pid}/fd").iterdir()))
            self.limit(resource.RLIMIT_NOFILE, used + self.rng.randrange(6), seconds)
        else:
            kib = int(Path(f"/proc/{self.daemon.pid}/status").read_text().split("VmSize:")[1].split()[0])
            self.limit(resource.RLIMIT_AS, (kib << 10) + self.rng.randrange(1 << 20), seconds)

    # -- cycles

    def sample(self):
        """What netmapd holds when only those who stay are there: requests of those who were killed come in late."""
        held = ("descriptors", "threads", "mappings", "ports", "regions")
        wanted = self.tally.samples[WARM_CYCLES - 1] if len(self.tally.samples) >= WARM_CYCLES else None
        end = time.monotonic() + PATIENCE
        before = None
        while True:
            now = self.look()
            settled = before and all(now[what] == before[what] for what in held)
            if settled and (not wanted or all(now[what] == wanted[what] for what in held)) or time.monotonic() > end:
                return now
            before = now
            time.sleep(0.5)

    def look(self):
        status = self.daemon.status()
        pid = self.daemon.pid
        rollup = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        kib = {name: int(rollup[name].split()[0]) for name in ("Pss_Anon", "Pss_Shmem", "Pss")}
        return {"descriptors": len(self.daemon.descriptors()), "threads": self.daemon.threads(), "mappings": self.daemon.mappings(),
                "ports": len(status["ports"]), "regions": len(status.get("regions", ())),
                "own_kb": kib["Pss_Anon"], "packets_kb": kib["Pss_Shmem"], "pss_kb": kib["Pss"]}

    def cycle(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.daemon.process.poll() is not None:
                raise Failure(f"netmapd ended with {self.daemon.process.returncode}: {self.daemon.log()[-1000:]}")
            if len(self.actors) < self.args.actors:
                self.add_actor()
            if self.rng.random() < 0.05:
                self.inject()
            self.reap()
            for s in self.stay:
                s.count()
            time.sleep(0.1)
        self.reap(everybody=True)
        self.progress()
        self.tally.samples.append(self.sample())
        self.compare()

    def compare(self):
        samples = self.tally.samples
        if len(samples) <= WARM_CYCLES:
            return
        first, last = samples[WARM_CYCLES - 1], samples[-1]
        for what in ("descriptors", "threads", "mappings", "ports", "regions"):
            if last[what] != first[what]:
                raise Failure(f"netmapd has {last[what]} {what}; {first[what]} after the first cycles")
        for what, growth in (("own_kb", GROWTH_KB), ("packets_kb", PACKETS_KB)):
            # The allocator gives back when it likes: the most of the first cycles, the least of the last ones.
            old, recent = max(s[what] for s in samples[:WARM_CYCLES + 3]), min(s[what] for s in samples[-3:])
            if len(samples) >= 2 * WARM_CYCLES + 6 and recent > old + growth:
                raise Failure(f"netmapd's memory, {what}, has grown from {old} to {recent} KiB")

    def finish(self):
        for s in self.stay:
            self.tally.packets[s.name] = s.finish()
        self.stay = []
        self.daemon.stop()
        self.daemon.check_end()

    def abandon(self):
        for entry in self.actors:
            os.killpg(entry[2].pid, signal.SIGKILL)
            entry[2].wait()
        for s in self.stay:
            s.kill()
        if self.daemon.process.poll() is None:
            self.daemon.process.kill()
            self.daemon.process.wait()


def report(soak, seconds, failure):
    t = soak.tally
    lines = [f"soak: {'FAILED' if failure else 'held'}: {seconds / 60:.1f} minutes, {len(t.samples)} cycles, seed {soak.args.seed}"]
    if failure:
        lines.append(f"  {failure}")
        lines.append(f"  logs are in {soak.place}")
    lines += [f"  packets of the {name} that stayed: {n}, none lost, changed or out of order" if not failure else
              f"  packets of the {name} that stayed: {n}" for name, n in t.packets.items()]
    lines += [f"  {name}: {sum(n)} came; {n[0]} ended when asked, {n[1]} were killed, {n[2]} were refused"
              for name, n in sorted(t.actors.items())]
    lines += [f"  faults: {name} ran out {n} times" for name, n in sorted(t.faults.items())]
    for what in ("own_kb", "packets_kb", "pss_kb", "descriptors", "threads", "mappings", "ports", "regions") if t.samples else ():
        values = [s[what] for s in t.samples]
        lines.append(f"  {what}: first {values[0]}, after {WARM_CYCLES} cycles {values[min(WARM_CYCLES, len(values)) - 1]}, "
                     f"largest {max(values)}, last {values[-1]}")
    return "\n".join(lines)


def run(args):
    for signo in signal.SIGINT, signal.SIGTERM:     # also where a shell has it ignored, in the background
        signal.signal(signo, signal.default_int_handler)
    as_nice_as_we()
    soak = Soak(args)
    start = time.monotonic()
    failure = None
    print(f"soak: seed {args.seed}, {soak.place}", flush=True)
    try:
        soak.start()
        end = start + args.hours * 3600
        while len(soak.tally.samples) < args.cycles if args.cycles else time.monotonic() < end:
            soak.cycle(args.cycle_seconds)
            if sys.stdout.isatty() or len(soak.tally.samples) % 20 == 1:
                print(f"{time.monotonic() - start:.0f} s: {soak.tally.samples[-1]}", flush=True)
        soak.finish()
    except Exception as e:      # whatever it is: the report tells of it, and the logs stay
        failure = f"{type(e).__name__}: {e}"
        (soak.place / "traceback").write_text(traceback.format_exc())
    except KeyboardInterrupt:
        failure = "interrupted"
    finally:
        soak.abandon()
    text = report(soak, time.monotonic() - start, failure)
    (soak.place / "report").write_text(text + "\n")
    print(text, flush=True)
    if not failure and not args.place:
        shutil.rmtree(soak.place)
    return 1 if failure else 0


def main(argv):
    if argv[:1] == ["--garbage"]:
        return random_garbage(argv[1], int(argv[2]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--cycles", type=int, default=0, help="so many instead of hours")
    parser.add_argument("--cycle-seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--place", help="directory of the logs; it is kept then")
    parser.add_argument("--guests", type=int, default=1, help="QEMUs that stay")
    parser.add_argument("--actors", type=int, default=4, help="who come and go, at a time")
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
