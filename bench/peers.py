# SPDX-License-Identifier: BSD-2-Clause
"""Other ways to get packets between two machines, measured beside ours on the same CPUs.

Each function runs one peer for a while and returns packets per second that got through, all
directions added up, and in which of its variants that was: the best of those that run here. Missing says
which packages it wants, or what else keeps it from running.
Generator and sink run on one CPU, what forwards on the other, as in our own scenarios:

    vhost   testpmd with two virtio-user ports, and a forwarding testpmd with two vhost-user ports
    memif   testpmd that sends on one memif, testpmd that receives on the other end
    ovs     testpmd as for vhost, Open vSwitch with DPDK and two vhost-user ports
    rtering pointers to packets through DPDK's rte_ring, between two threads of one process (bench/rtering.c)
    bridge  a Linux bridge with two veth pairs in namespaces, AF_PACKET at both ends
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

OVS = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
WANTED_HUGE = 1024      # of 2 MiB
START_S = 20            # a peer that is not ready by then is given up


class Missing(Exception):
    """The peer can't be measured here; the text says what to do."""


class Runner:
    """Processes of one measurement in a directory of their own; all end with it."""

    def __init__(self, cpus):
        self.client_cpu, self.worker_cpu = cpus
        self.dir = Path(tempfile.mkdtemp(prefix="ptnetmap-peer-"))
        self.children = []
        self.undo = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for child in reversed(self.children):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGINT)
        end = time.monotonic() + 5
        for child in reversed(self.children):
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        for command in reversed(self.undo):
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, name, command, **env):
        log = open(self.dir / f"{name}.log", "wb")
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                                 start_new_session=True, cwd=self.dir, env={**os.environ, **env})
        self.children.append(child)
        return child

    def run(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=START_S,
                              check=False, env={**os.environ, "OVS_RUNDIR": str(self.dir)})
        if done.returncode:
            raise Missing(f"{command[0]} fails: {done.stdout.strip().splitlines()[-1:] or done.returncode}")
        return done.stdout

    def text(self, name):
        return (self.dir / f"{name}.log").read_text(errors="replace")

    def wait_for(self, what, ready):
        end = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > end:
                raise Missing(f"{what} did not start within {START_S} s")
            time.sleep(0.1)


def need(programs, packages):
    missing = [p for p in programs if not (shutil.which(p) or os.access(p, os.X_OK))]
    if missing:
        raise Missing(f"apt-get install {packages}")


def need_huge_pages():
    """DPDK wants them. They are asked for once; what the system has set aside already is left alone."""
    if int(HUGE_PAGES.read_text()) >= WANTED_HUGE:
        return
    try:
        HUGE_PAGES.write_text(str(WANTED_HUGE))
    except OSError:
        pass
    if int(HUGE_PAGES.read_text()) < WANTED_HUGE:
        raise Missing(f"needs huge pages: echo {WANTED_HUGE} > {HUGE_PAGES} (as root)")


def testpmd(runner, name, cpu, vdevs, mode, size):
    command = ["dpdk-testpmd", "--lcores", f"0@{cpu},1@{cpu}", "--no-pci", "-m", "512", "--in-memory",
               "--single-file-segments", f"--file-prefix=ptnetmap-{name}"]
    for vdev in vdevs:
        command += ["--vdev", vdev]
    command += ["--", f"--forward-mode={mode}", f"--txpkts={size}", "--auto-start", "--stats-period=1", "--nb-cores=1"]
    return runner.start(name, command)


def rates(runner, name, which, ports, seconds):
    """The mean, over the last `seconds`, of the rate that testpmd shows each second, its ports added up."""
    start = len(runner.text(name))
    time.sleep(seconds + 1.2)
    shown = [int(n) for n in re.findall(rf"{which}-pps:\s+(\d+)", runner.text(name)[start:])]
    shown = shown[ports:] if len(shown) > ports else shown      # the first one began before
    if len(shown) < ports or not any(shown):
        raise Missing(f"testpmd moved nothing: {runner.text(name).strip().splitlines()[-1:]}")
    return sum(shown) / (len(shown) / ports)


# What the two are at their best with depends on the processor, so all are tried.
VIRTIO_USER = {
    "split": "",
    "packed": ",packed_vq=1",
    "split, in order": ",in_order=1,mrg_rxbuf=0",
    "split, in order, vectorised": ",in_order=1,mrg_rxbuf=0,vectorized=1",
    "packed, in order": ",packed_vq=1,in_order=1,mrg_rxbuf=0",
    "packed, in order, vectorised": ",packed_vq=1,in_order=1,mrg_rxbuf=0,vectorized=1",
}
MEMIF = {
    "copy": "",
    "zero copy": ",zero-copy=yes",
    "zero copy, 4096 slots": ",zero-copy=yes,rsize=12",
}


def best_of(variants, measure):
    """The highest rate, and the name of its variant; those that this machine can't have don't count."""
    found, why = {}, None
    for name, devargs in variants.items():
        try:
            found[name] = measure(devargs)
        except Missing as e:
            why = why or e
    if not found:
        raise why
    return max((rate, name) for name, rate in found.items())


def vhost(cpus, size, seconds):
    need(["dpdk-testpmd"], "dpdk dpdk-dev")
    need_huge_pages()
    return best_of(VIRTIO_USER, lambda devargs: vhost_once(cpus, size, seconds, devargs))


def vhost_once(cpus, size, seconds, devargs):
    with Runner(cpus) as r:
        sockets = [r.dir / f"port{i}" for i in range(2)]
        testpmd(r, "forward", r.worker_cpu, [f"net_vhost{i},iface={s}" for i, s in enumerate(sockets)], "io", size)
        r.wait_for("testpmd", lambda: all(s.exists() for s in sockets))
        testpmd(r, "ends", r.client_cpu, [f"net_virtio_user{i},path={s}{devargs}" for i, s in enumerate(sockets)],
                "flowgen", size)
        r.wait_for("testpmd", lambda: "Rx-pps" in r.text("ends"))
        return rates(r, "forward", "Tx", 2, seconds)


def memif(cpus, size, seconds):
    need(["dpdk-testpmd"], "dpdk dpdk-dev")
    need_huge_pages()
    return best_of(MEMIF, lambda devargs: memif_once(cpus, size, seconds, devargs))


def memif_once(cpus, size, seconds, devargs):
    with Runner(cpus) as r:
        args = f"id=0,socket={r.dir}/memif,socket-abstract=no{devargs}"
        testpmd(r, "receive", r.worker_cpu, [f"net_memif0,role=server,{args}".replace(",zero-copy=yes", "")], "rxonly", size)
        r.wait_for("testpmd", lambda: "Rx-pps" in r.text("receive"))
        testpmd(r, "send", r.client_cpu, [f"net_memif0,role=client,{args}"], "txonly", size)
        r.wait_for("testpmd", lambda: "Rx-pps" in r.text("send"))
        return rates(r, "receive", "Rx", 1, seconds)


def start_ovs(r):
    db = f"unix:{r.dir}/db"
    r.run("ovsdb-tool", "create", str(r.dir / "conf.db"), SCHEMA)
    r.start("ovsdb", ["ovsdb-server", str(r.dir / "conf.db"), f"--remote=p{db}"], OVS_RUNDIR=str(r.dir))
    r.wait_for("ovsdb-server", (r.dir / "db").exists)
    vsctl = ["ovs-vsctl", f"--db={db}", "--timeout=10"]
    r.run(*vsctl, "--no-wait", "init")
    r.run(*vsctl, "--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
          f"other_config:pmd-cpu-mask={1 << r.worker_cpu:#x}", f"other_config:dpdk-lcore-mask={1 << r.client_cpu:#x}",
          "other_config:dpdk-extra=--in-memory --no-pci")
    r.start("ovs", [OVS, db], OVS_RUNDIR=str(r.dir))
    r.run(*vsctl, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
    for i in range(2):
        r.run(*vsctl, "add-port", "br0", f"v{i}", "--", "set", "Interface", f"v{i}", "type=dpdkvhostuserclient",
              f"ofport_request={i + 1}", f"options:vhost-server-path={r.dir}/port{i}")
    mgmt = str(r.dir / "br0.mgmt")
    r.run("ovs-ofctl", "del-flows", mgmt)
    r.run("ovs-ofctl", "add-flow", mgmt, "in_port=1,actions=output:2")
    r.run("ovs-ofctl", "add-flow", mgmt, "in_port=2,actions=output:1")


def ovs(cpus, size, seconds):
    need(["dpdk-testpmd", OVS, "ovsdb-server", "ovs-vsctl"], "dpdk dpdk-dev openvswitch-switch-dpdk")
    need_huge_pages()
    with Runner(cpus) as r:
        start_ovs(r)
        testpmd(r, "ends", r.client_cpu, [f"net_virtio_user{i},path={r.dir}/port{i},server=1" for i in range(2)],
                "flowgen", size)
        r.wait_for("testpmd", lambda: "Rx-pps" in r.text("ends"))
        time.sleep(2)       # Open vSwitch connects when it looks again
        return rates(r, "ends", "Rx", 2, seconds), ""


def bridge(cpus, size, seconds, afpacket):
    """`afpacket`: our program that sends and receives on two interfaces."""
    need(["ip"], "iproute2")
    if os.geteuid() != 0:
        raise Missing("needs root (network namespaces)")
    with Runner(cpus) as r:
        ns = f"ptnbench{os.getpid()}"
        r.run("ip", "netns", "add", ns)
        r.undo.append(["ip", "netns", "del", ns])
        ip = ["ip", "-n", ns]
        r.run(*ip, "link", "add", "br0", "type", "bridge")
        r.run(*ip, "link", "set", "br0", "up")
        for i in range(2):
            r.run(*ip, "link", "add", f"v{i}", "type", "veth", "peer", "name", f"b{i}")
            r.run(*ip, "link", "set", f"b{i}", "master", "br0")
            r.run(*ip, "link", "set", f"b{i}", "up")
            r.run(*ip, "link", "set", f"v{i}", "up")
        time.sleep(1)
        out = r.run("ip", "netns", "exec", ns, str(afpacket), "pair", "v0", "v1", str(size), str(seconds), str(cpus[0]),
                    str(cpus[1]))
        return float(out), ""


RTE_RING = {"bursts of 32": 32, "bursts of 256": 256}


def rtering(cpus, size, seconds, program):
    """`program`: ours, which is there where DPDK was when we were built."""
    if not program.exists():
        raise Missing("apt-get install libdpdk-dev, then build again (meson setup --reconfigure build)")
    with Runner(cpus) as r:
        return best_of(RTE_RING, lambda burst: float(r.run(str(program), *map(str, (size, burst, seconds, *cpus)))))


PEERS = {"vhost": vhost, "memif": memif, "ovs": ovs, "bridge": bridge, "rtering": rtering}
