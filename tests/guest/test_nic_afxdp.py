# SPDX-License-Identifier: BSD-2-Clause
"""netmapd-nic and netmapd's side of it with drivers of real devices: a guest is the host, QEMU's devices are its NICs.

Two devices of a kind are on one hub of QEMU. A program (tests/daemon/nicuse) uses each through AF_XDP.
"""

import pytest

import ptnguest
from ptnguest.env import BUILD

NICUSE, NETMAPD_NIC, NETMAPCTL = (BUILD / p for p in ("tests/daemon/nicuse", "nic/netmapd-nic", "tools/netmapctl"))

DEVICES = {     # of QEMU
    "igb": "igb",
    "virtio_net": "virtio-net-pci,iommu_platform=on,disable-legacy=on,mq=on,vectors=10",
    "virtio_plain": "virtio-net-pci",   # its driver refuses zero copy when it is asked, and not by having none
    "e1000e": "e1000e",
}
MODULES = ("igb", "virtio_net", "e1000e", "sch_ingress", "cls_bpf")
ZERO_COPY = {"igb": ("newest",), "virtio_net": ("newest",)}
NATIVE = ("igb", "virtio_net", "virtio_plain")
FRAMES = 200     # at a time, not more than a device of QEMU holds: a hub drops what a slow guest has no room for
SIZES = (60, 64, 1023, 1024, 1025, 1514)


def wires():
    args = []
    for hub, device in enumerate(DEVICES.values()):
        for end in range(2):
            # igb has virtual functions, which take the slots behind its own.
            args += ["-device", f"pcie-root-port,id=port{hub}{end},chassis={2 * hub + end + 1}",
                     "-netdev", f"hubport,id=h{hub}{end},hubid={hub}",
                     "-device", f"{device},bus=port{hub}{end},netdev=h{hub}{end},mac=00:aa:bb:cc:{hub:02x}:{end:02x}"]
    return args


@pytest.fixture(scope="module")
def guest(kernel):
    initramfs = ptnguest.build_initramfs(kernel, programs=[NICUSE, NETMAPD_NIC, NETMAPCTL, ("ip", "sbin/ip"), "ethtool"],
                                         modules=MODULES)
    with ptnguest.Guest(kernel, initramfs, name=f"nic-afxdp-{kernel.line}", args=wires()) as guest:
        guest.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; "
                  f"for m in {' '.join(MODULES)}; do modprobe $m; done")
        for hub, driver in enumerate(DEVICES):
            for end in range(2):
                mac = f"00:aa:bb:cc:{hub:02x}:{end:02x}"
                guest.run(f"for i in $(ls /sys/class/net); do grep -qi {mac} /sys/class/net/$i/address && break; done; "
                          f"/sbin/ip link set $i down; /sbin/ip link set $i name {name(driver, end)}; "
                          f"/sbin/ip link set {name(driver, end)} up")
        yield guest
        guest.assert_clean_log()


def name(driver, end):
    return f"{driver.replace('_', '')}{end}"


def best(driver, kernel):
    return "zero-copy" if kernel.line in ZERO_COPY.get(driver, ()) else "native" if driver in NATIVE else "generic"


class Use:
    """nicuse in the guest: see there."""

    def __init__(self, guest, interface, options=""):
        self.guest = guest
        self.orders = f"/tmp/{interface}.orders"
        guest.run(f"rm -f {self.orders}; mkfifo {self.orders}")
        self.command = guest.spawn(f"exec nicuse {interface} ring=1024 buffers=4096 {options} <>{self.orders}")
        self.stats_seen = 0

    def bound(self):
        found = self.command.wait_output(r"^bound (\S+) (\d+) ?(.*)$|^failed .*$", 60)
        assert found[0].startswith("bound"), self.command.output
        return found

    def say(self, text):
        self.guest.run(f"echo {text} > {self.orders}")

    def stats(self):
        """Received, bytes, echoed, bad, dropped."""
        self.say("stats")
        self.stats_seen += 1
        return [int(n) for n in self.command.wait_output(r"^stats (.*)\n", times=self.stats_seen)[1].split()]

    def close(self):
        self.say("close")
        assert self.command.wait_output(r"^gone (\d+)$", 60)[1] == "0", self.command.output
        self.command.wait()


def carrier(guest, *interfaces):
    """Attaching a program resets some devices, for seconds."""
    for interface in interfaces:
        guest.run(f"for i in $(seq 300); do /sbin/ip link show {interface} | grep -q LOWER_UP && exit; sleep 0.1; done; exit 1", 60)


@pytest.mark.parametrize("driver", DEVICES)
def test_packets_in_the_best_mode(guest, kernel, driver):
    names = [name(driver, end) for end in range(2)]
    uses = [Use(guest, n) for n in names]
    for use in uses:
        assert use.bound()[1] == best(driver, kernel), use.command.output
    carrier(guest, *names)
    # What the stack sends does not get out: else its frames would be among those that are counted.
    guest.run(f"/sbin/ip addr add 192.0.2.1/24 dev {names[0]}; ping -c 2 -W 1 192.0.2.2; /sbin/ip addr flush dev {names[0]}")
    count = 0
    for size in SIZES:
        for sender, receiver in (uses, uses[::-1]):
            sender.say(f"send {FRAMES} {size}")
            sender.command.wait_output(rf"^sent {FRAMES}\n", 60, times=count // FRAMES + 1)
            for _ in range(300):    # a slow machine's interrupts come when they come
                if receiver.stats()[0] >= count + FRAMES:
                    break
                guest.run("sleep 0.1")
        count += FRAMES
    for use in uses:
        received, total, _, bad, dropped = use.stats()
        assert (received, total, bad, dropped) == (count, FRAMES * sum(SIZES), 0, 0), use.command.output
    for use in uses:
        use.close()


@pytest.mark.parametrize("driver", DEVICES)
def test_nic_check_knows_the_modes(guest, kernel, driver):
    out = guest.run(f"netmapctl nic-check {name(driver, 0)}", 120).out
    modes = dict(line.split()[:2] for line in out.splitlines()[1:] if line.split()[0] in ("zero-copy", "native", "generic"))
    granted = [mode for mode in ("zero-copy", "native", "generic") if modes[mode] == "yes"]
    assert granted[0] == best(driver, kernel) and granted[-1] == "generic", out


@pytest.mark.parametrize("driver", DEVICES)
def test_a_killed_user_gives_the_interface_back(guest, kernel, driver):
    interface = name(driver, 0)
    before = guest.run(f"ethtool -k {interface}; /sbin/ip -d link show {interface} | grep -o 'promiscuity [0-9]*'").out
    use = Use(guest, interface)
    use.bound()
    guest.run("kill -9 $(pidof nicuse)")     # not its children: netmapd-nic is one
    guest.run("for i in $(seq 300); do [ -z \"$(ls /run/netmapd-nic)\" ] && exit; sleep 0.1; done; exit 1", 60)
    assert "xdp" not in guest.run(f"/sbin/ip link show {interface}").out
    assert guest.run(f"ethtool -k {interface}; /sbin/ip -d link show {interface} | grep -o 'promiscuity [0-9]*'").out == before
    again = Use(guest, interface)
    assert again.bound()[1] == best(driver, kernel)
    again.close()
