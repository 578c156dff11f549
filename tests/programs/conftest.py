# SPDX-License-Identifier: BSD-2-Clause
"""Programs of others, which nobody here wrote, on our ports: what setup/programs has built of them.

    def test_something(program, way):
        tool = program("libpcap")               # skips when this machine can't have it
        way.home.spawn(f"tcpdump -i {way.sink}", tool.libraries)
        way.home.send(capture.write(packets), way.source)

A test with the fixture `way` runs once for each home and pair of ports in it (see homes.py), or,
when it has the mark `ways`, for those that this names: @pytest.mark.ways(host=["vale"], guest=["veth"]).
So it is with `chain` and `chains`, of ports that a program is to join. All tests in the guest share one.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "daemon"), str(HERE.parent / "guest"), str(HERE.parent / "guest/lib")]
os.environ.setdefault("NM_DEBUG", "y")  # for setup/module: the module checks its own state

import netlab  # noqa: E402: found by the line above
import ptnguest  # noqa: E402
from homes import GuestHome, HostHome  # noqa: E402
from ptnet_real import BUILD, Netmapd  # noqa: E402

NAMES = ("libpcap", "daq", "suricata")
DEST = BUILD / "programs"       # DESTDIR of what they are built with
KERNEL = "6.12"


# ------------------------------------------------------------ the programs


@dataclass(frozen=True)
class Program:
    name: str
    version: str
    dir: Path

    @property
    def libraries(self):
        """Where the dynamic linker is to look first: its own, and libnetmap of this build."""
        return (self.dir / "lib", BUILD / "libnetmap")


def build_programs():
    """Installs what was built here, builds the programs with that; returns the lines of setup/programs."""
    shutil.rmtree(DEST, ignore_errors=True)
    subprocess.run(["/usr/bin/meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet"], check=True,
                   env=dict(os.environ, DESTDIR=str(DEST)), stdout=subprocess.DEVNULL)
    done = subprocess.run([str(ptnguest.ROOT / "setup/programs"), str(DEST), *NAMES], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, "setup/programs fails: see its message"
    return done.stdout.splitlines()


def pytest_configure(config):
    """Once for all workers, before they begin: it takes minutes when the cache is empty."""
    for name in ("ways", "chains"):
        config.addinivalue_line("markers", f"{name}(host=[…], guest=[…]): those that the test is for")
    if config.option.collectonly:
        config.programs = []
    elif hasattr(config, "workerinput"):
        config.programs = config.workerinput["programs"]
    else:
        config.programs = build_programs()


@pytest.hookimpl(optionalhook=True)     # of xdist
def pytest_configure_node(node):
    node.workerinput["programs"] = node.config.programs


def known_programs(config):
    """{name: Program, or (the outcome that its tests have, why)}."""
    known = {}
    for line in config.programs:
        name, version, rest = line.split(" ", 2)
        known[name] = Program(name, version, Path(rest))
        if version == "-":
            known[name] = pytest.skip, f"{name} can't be had here: {rest}"
        elif version == "!":
            known[name] = pytest.fail, f"{name} {rest}"
    return known


@pytest.fixture(scope="session")
def program(request):
    """program(name) -> Program."""
    known = known_programs(request.config)

    def find(name):
        found = known.get(name, (pytest.fail, f"setup/programs says nothing of {name}"))
        if isinstance(found, Program):
            return found
        outcome, why = found
        return outcome(why)

    return find


# ------------------------------------------------------------ the homes


def pytest_generate_tests(metafunc):
    for fixture in ("way", "chain"):
        if fixture in metafunc.fixturenames:
            mark = metafunc.definition.get_closest_marker(f"{fixture}s")
            chosen = mark.kwargs if mark else {home.name: getattr(home, f"{fixture}s") for home in (HostHome, GuestHome)}
            pairs = [(home, name) for home, names in chosen.items() for name in names]
            metafunc.parametrize(fixture, pairs, ids=["-".join(p) for p in pairs], indirect=True)


def pytest_itemcollected(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    homes = [pair[0] for name, pair in params.items() if name in ("way", "chain")]
    homes += [name for name in item.fixturenames if name == "guest"]
    item.add_marker(pytest.mark.xdist_group(f"programs-{'guest' if 'guest' in homes else 'host'}"))


@dataclass(frozen=True)
class Way:
    home: object
    name: str

    @property
    def source(self):
        return self.home.ways[self.name][0]

    @property
    def sink(self):
        return self.home.ways[self.name][1]


@dataclass(frozen=True)
class Chain:
    home: object
    name: str
    source: str
    devices: tuple      # bare names, of those to be joined
    sink: str


@pytest.fixture
def host(program):
    place = Path(tempfile.mkdtemp(prefix="ptnet-"))
    daemon = Netmapd(place, "--workers", "2")
    home = HostHome(daemon)
    try:
        yield home
        home.clean()
        daemon.check_end()
    finally:
        home.clean()
        daemon.stop()
        shutil.rmtree(place)


def build_daqrun(program):
    """Compiles it unless that was done; named by what it is made from."""
    source = HERE / "daqrun.c"
    out = BUILD / f"guest/daqrun-{hashlib.sha256(source.read_bytes() + str(program.dir).encode()).hexdigest()[:12]}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        new = out.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", f"-I{program.dir}/include",
                        "-o", str(new), str(source), f"-L{program.dir}/lib", "-ldaq", "-Wl,--no-as-needed", "-lsfbpf"], check=True)
        os.replace(new, out)
    return out


def all_libraries(known):
    return ":".join(str(d) for p in known.values() if isinstance(p, Program) for d in p.libraries)


def build_initramfs(kernel, known):
    """With all programs that there are: their libraries lie where they lie here."""
    programs, files = [netlab.PKT_GEN, netlab.VALE_CTL, ("ip", "sbin/ip")], {}
    for name, tools in (("libpcap", lambda p: ["tcpdump"]), ("daq", lambda p: [build_daqrun(p)]),
                        ("suricata", lambda p: [p.dir / "bin/suricata"])):
        if isinstance(known.get(name), Program):
            programs += tools(known[name])
            files.update({str(f): f for f in known[name].dir.glob("lib/daq/*.so")} | {str(f): f for f in known[name].dir.glob("etc/*")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_LIBRARY_PATH", all_libraries(known))      # for ldd
        return ptnguest.build_initramfs(kernel, programs=programs, files=files, modules=["veth", "virtio_net"],
                                        kos=[ptnguest.build_module(kernel)[0]])


SET_UP = """
sysctl -qw net.ipv6.conf.default.disable_ipv6=1
modprobe virtio_net; modprobe veth; modprobe netmap
/sbin/ip link add veth0 type veth peer name veth1; /sbin/ip link add veth2 type veth peer name veth3
for i in $(cd /sys/class/net; ls -d eth*); do
    mac=$(cat /sys/class/net/$i/address)
    case $mac in 00:aa:bb:cc:01:0?) ip link set $i name ptnet${mac#*:01:0};; *) ip link set $i name virtio${mac#*:02:0};; esac
done
for kind in veth ptnet virtio; do for n in 0 1 2 3; do ip link set $kind$n up || exit 1; done; done
"""


@pytest.fixture(scope="session")
def shared_guest(request):
    """Booted once."""
    kernel = ptnguest.Kernel.get(KERNEL)
    initramfs = build_initramfs(kernel, known_programs(request.config))
    args = []
    for n in range(4):
        args += ["-netdev", f"netmap,ifname=vale{n // 2}:{n},id=ptnet{n},passthrough=on",
                 "-device", f"ptnet-pci,netdev=ptnet{n},mac=00:aa:bb:cc:01:0{n}",
                 "-netdev", f"hubport,hubid={n // 2},id=virtio{n}", "-device", f"virtio-net-pci,netdev=virtio{n},mac=00:aa:bb:cc:02:0{n}"]
    with netlab.Daemon(BUILD / "test-logs/programs.netmapd") as daemon:
        qemu = [str(netlab.QEMU_PTNET), "--quiet", "--socket", daemon.socket, "--qemu", ptnguest.qemu_path()]
        with ptnguest.Guest(kernel, initramfs, qemu=qemu, accelerator=None, memory="1G", name="programs", args=args) as guest:
            guest.run(SET_UP)
            yield guest


@pytest.fixture
def guest(shared_guest, request):
    home = GuestHome(shared_guest, all_libraries(known_programs(request.config)))
    yield home
    home.clean()


@pytest.fixture
def way(request):
    home, name = request.param
    return Way(request.getfixturevalue(home), name)


@pytest.fixture
def chain(request):
    home, name = request.param
    home = request.getfixturevalue(home)
    source, *devices, sink = home.chains[name]
    return Chain(home, name, source, tuple(devices), sink)
