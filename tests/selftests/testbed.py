# SPDX-License-Identifier: BSD-2-Clause
"""A guest that runs the kernel's own tests of network drivers on a passed-through port.

The guest is a small Debian 13 (setup/debian trixie net) with the kernel, netmap.ko, and the tests of that kernel in /selftests
(setup/selftests). It has two ports on one switch of a netmapd: `data`, which is tested, and `wire` in the guest's
namespace `remote`, the other end:

    guest   data, 192.0.2.1, 2001:db8::1                   namespace remote   wire, 192.0.2.2, 2001:db8::2
              |                                                                 |
    host    vale1:data ------------------ netmapd, switch vale1 ------------ vale1:wire
"""

import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

import lab
import netlab
import ptnguest
from ptnguest import initramfs

# The guest's clock counts its instructions (4 ns each), and goes with the host's only while it has nothing to do: tests wait half a second
# for a ping, two for a program to start, and a busy host gives an emulated guest less than that. One thread runs all its CPUs.
CLOCK = ("-accel", "tcg,thread=single", "-cpu", "max,erms=off,fsrm=off,fsrs=off,fzrm=off", "-icount", "shift=2")

CPUS = 4        # irq moves an interrupt to CPUs 0 and 2
RINGS = 6       # rss_ctx and rss_drv want more than four
MACS = {"data": "00:aa:bb:cc:01:01", "wire": "00:aa:bb:cc:01:02"}

# The agent is the first process: what else there is, a test has started.
_INIT = f"""#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/shm /run/netns /run/sshd /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debugfs /sys/kernel/debug
modprobe configfs
mount -t configfs configfs /sys/kernel/config
ip link set lo up
hostname guest
exec /usr/local/sbin/agent {initramfs.PORT_DEVICE}
"""

# Addresses don't wait for others to object to them, and stay when an interface is down: some tests have it down.
_NETWORK = f"""set -e
for i in all default; do
	echo 1 > /proc/sys/net/ipv6/conf/$i/keep_addr_on_down
	echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad
done
modprobe pppoe    # gro: it is what puts packets of PPPoE together
# The other end is like a wire: without a virtio-net header, so that what comes there is as it would be on one, checksums and
# segments made by the switch, and what it sends are packets of the MTU, of which an emulated machine makes as many as tests count.
modprobe netmap ptnet_vnet_hdr=0
name() {{ for i in /sys/class/net/*; do ! grep -q $1 $i/address || echo ${{i##*/}}; done; }}
data=$(readlink -f /sys/class/net/$(name {MACS["data"]})/device)
echo 1 > /sys/module/netmap/parameters/ptnet_vnet_hdr
for what in unbind bind; do echo ${{data##*/}} > /sys/bus/pci/drivers/ptnet/$what; done
ip link set $(name {MACS["data"]}) name data
ip link set $(name {MACS["wire"]}) name wire
ip netns add remote
ip link set wire netns remote
at() {{ $1 ip addr add 192.0.2.$3/24 dev $2; $1 ip addr add 2001:db8::$3/64 dev $2 nodad; $1 ip link set $2 up; }}
at "" data 1
at "ip netns exec remote" wire 2
ip netns exec remote ip link set lo up
"""

# That of Debian 13 has no JSON for the numbers of queues.
_ETHTOOL = """#!/bin/sh
[ "$1 $2" = "--json -l" ] || exec /usr/sbin/ethtool "$@"
/usr/sbin/ethtool -l "$3" | awk '/^Current/ {now = 1} now && /^Combined:/ {print "[{\\"combined\\": " $2 "}]"}'
"""

ENVIRONMENT = ("NETIF=data LOCAL_V4=192.0.2.1 REMOTE_V4=192.0.2.2 LOCAL_V6=2001:db8::1 REMOTE_V6=2001:db8::2 "
               "REMOTE_TYPE=netns REMOTE_ARGS=remote KSFT_MACHINE_SLOW=yes PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1")


def selftests(line):
    """The directory of setup/selftests."""
    done = subprocess.run([ptnguest.ROOT / "setup/selftests", line], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def programs(directory):
    """Names of the test programs, as their list has them: folder:name."""
    with open(f"{directory}/kselftest-list.txt") as names:
        return [name.strip() for name in names if name.strip()]


def write_system(kernel, netmap_ko, place):
    """A disk image of the guest."""
    with lab.System("trixie", "net") as system:
        root = system.root
        modules = root / "usr/lib/modules" / kernel.version
        shutil.copytree(kernel.modules, modules, ignore=shutil.ignore_patterns("build", "source"))
        (modules / "extra").mkdir()
        shutil.copy(netmap_ko, modules / "extra")
        subprocess.run(["/sbin/depmod", "-b", root, kernel.version], check=True)
        tests = selftests(kernel.line)
        shutil.copytree(tests, root / "selftests")
        for program in programs(tests):     # the kernel's source has some that are not executable
            (root / "selftests" / program.replace(":", "/")).chmod(0o755)
        for name, script in ("sbin/init", _INIT), ("usr/local/sbin/ethtool", _ETHTOOL):
            (root / name).write_text(script)
            (root / name).chmod(0o755)
        shutil.copy(initramfs.build_agent(), root / "usr/local/sbin/agent")
        (root / "etc/fstab").write_text("")
        return system.write_disk(place)


def _port(name, conf):
    return ["-netdev", f"netmap,ifname=vale1:{name}@conf:{conf},id={name},passthrough=on",
            "-device", f"ptnet-pci,netdev={name},mac={MACS[name]}"]


@contextmanager
def running(kernel, netmap_ko, place):
    """The guest, with its two interfaces up."""
    disk = write_system(kernel, netmap_ko, place)
    own = [name for name in initramfs.DISK_MODULES if name != "crc32c_generic" or kernel.line == "6.12"]
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"selftests-{kernel.line}.netmapd") as daemon:
        guest = ptnguest.Guest(
            kernel, ptnguest.build_initramfs(kernel, modules=own), cmdline="guest.disk rw", name=f"selftests-{kernel.line}",
            qemu=[str(netlab.QEMU_PTNET), "--quiet", "--socket", daemon.socket, "--qemu", ptnguest.qemu_path()], accelerator=None,
            memory="1G", smp=CPUS, args=[*CLOCK, *lab.disk_args(disk), *_port("data", f"rings={RINGS}"), *_port("wire", f"rings={RINGS}")])
        with guest.start(120):
            guest.run(_NETWORK)
            yield guest


@dataclass(frozen=True)
class Case:
    """A line of a test program's TAP: ok, skip, xfail or FAILED, and what it says of that."""
    name: str
    verdict: str
    why: str


_TAP = re.compile(r"^(not ok|ok) \d+ (\S+)(?: +# *(.*))?$", re.M)


def cases(output):
    """What a program of the tests says in its TAP."""
    found = []
    for verdict, name, comment in _TAP.findall(output):
        kind = comment.split(" ")[0].rstrip(":").lower() if comment else ""
        told = "FAILED" if verdict == "not ok" else kind if kind in ("skip", "xfail") else "ok"
        found.append(Case(name.split(".", 1)[-1], told, comment))
    return found


def planned(output):
    """How many cases a program of the tests says that it has."""
    return sum(int(n) for n in re.findall(r"^1\.\.(\d+)$", output, re.M))


_RSS_KEY = re.compile(r"^(?:[0-9a-f]{2}:){39}[0-9a-f]{2}$", re.M)


def settings(guest):
    """What a test has to leave as it was. An address that has just come back is tentative for a moment. Queueing disciplines are the
    stack's: ring_reconfig leaves its own, and they are set back here. Keys of the hash are random: rss_ctx leaves its own."""
    said = guest.run("tc qdisc del dev data root 2> /dev/null; for i in k g l c x; do ethtool -$i data; done; ip -d addr show data | "
                     "sed 's/ promiscuity.*//; s/ tentative//'").out
    return _RSS_KEY.sub("KEY", said)
