#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A real libvirtd of Debian 13 (qemu:///system, emulation): domains whose ports come and go with them."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest

import ptnguest
from lab import REPO, System, USER_SPACE, build_packages
from ptnguest.channel import Channel

pytestmark = [pytest.mark.everything, pytest.mark.xdist_group("packages-libvirt")]

PATIENCE = 240      # seconds; only a failure takes so long

START = """set -e
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/netmapd /run/lock
chown netmap: /run/netmapd
ip link set lo up
setpriv --reuid netmap --regid netmap --clear-groups netmapd --socket /run/netmapd/socket --group netmap \
    --policy /etc/netmapd/policy.conf --nic off --background
virtlogd -d
libvirtd -d
while sleep 1; do :; done    # the first process: it takes the status of those that nobody else does
"""

DOMAIN = """<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  {fragment}
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/boot/vmlinux</kernel><initrd>/boot/initramfs</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check</cmdline>
  </os>
  <cpu mode='maximum'/>
  <features><acpi/></features>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'><alias name='ua-free1'/></controller>
    <controller type='pci' index='2' model='pcie-root-port'><alias name='ua-free2'/></controller>
    <controller type='pci' index='3' model='pcie-root-port'/>
    <controller type='pci' index='4' model='pcie-root-port'/>
    <controller type='pci' index='5' model='pcie-root-port'/>
    <controller type='virtio-serial' index='0'><address type='pci' domain='0' bus='3' slot='0' function='0'/></controller>
    <channel type='unix'><source mode='bind' path='/tmp/agent-{name}'/><target type='virtio' name='agent'/></channel>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='/tmp/console-{name}'/></serial>
  </devices>
</domain>
"""


class Libvirt:
    """Debian with netmapd and libvirtd, which run in a process and network namespace."""

    def __init__(self, system):
        self.system = system
        args = system.command(START)
        at = args.index("-f")
        self.process = subprocess.Popen([*args[:at], "-n", *args[at:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env=system.ENVIRONMENT)
        self.wait(self.has_begun, "the daemons")
        self.pid = self.children(self.process.pid)[0]

    @staticmethod
    def comm(pid):
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]

    def has_begun(self):
        assert self.process.poll() is None, self.process.stdout.read()
        return any(self.comm(p) == "sleep" for first in self.children(self.process.pid) for p in self.children(first))

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{PATIENCE} s have passed, but not: {what}"
            time.sleep(0.1)

    def try_run(self, command):
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-r", "-w", "sh", "-c", command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, env=self.system.ENVIRONMENT)
        return done.returncode, done.stdout

    def run(self, command):
        status, out = self.try_run(command)
        assert status == 0, f"{command}: {out}"
        return out

    def file(self, path):
        return f"/proc/{self.pid}/root{path}"

    def fragment(self, name, *ports):
        """What qemu-ptnet prints, of ports that nobody has yet."""
        nics = " ".join(f"-nic '{port}'" for port in ports)
        return self.run(f"qemu-ptnet --libvirt-xml -name {name} {nics}")

    def define(self, name, *ports):
        with open(self.file(f"/tmp/{name}.xml"), "w") as f:
            f.write(DOMAIN.format(name=name, fragment=self.fragment(name, *ports)))
        self.run(f"virsh define /tmp/{name}.xml")

    def guest(self, name):
        """A channel to its agent, when that is there; from the next start of the guest if there is one already."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.file(f"/tmp/agent-{name}"))
        return Channel(sock)

    def close(self):
        self.process.send_signal(signal.SIGKILL)      # --kill-child: the namespace's first process goes, and all others with it
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def libvirt():
    packages = build_packages("trixie")
    kernel = ptnguest.Kernel.get("6.12")
    ko = next(p for p in ptnguest.build_module(kernel) if p.name == "netmap.ko")
    ramdisk = ptnguest.build_initramfs(kernel, programs=[ptnguest.BUILD / "apps/pkt-gen"], kos=[ko])
    with System("trixie", "libvirt") as system:
        system.install(*(packages[name] for name in USER_SPACE))
        system.bring(ramdisk, kernel.image, to="boot")
        (system.root / "boot" / ramdisk.name).rename(system.root / "boot/initramfs")
        (system.root / "boot" / kernel.image.name).rename(system.root / "boot/vmlinux")
        (system.root / "etc/libvirt/hooks/qemu.d").mkdir(parents=True)
        (system.root / "etc/libvirt/hooks/qemu.d/netmap").symlink_to("/usr/share/ptnetmap/libvirt/netmap-libvirt-hook")
        # Its namespace wants /dev to be a mount, which it isn't here.
        (system.root / "etc/libvirt/qemu.conf").write_text("namespaces = []\n")
        (system.root / "etc/netmapd/policy.conf").write_text("allow user libvirt-qemu port vale1:*\n")
        lab = Libvirt(system)
        try:
            lab.wait(lambda: lab.try_run("virsh version")[0] == 0, "libvirtd answers")
            yield lab
        finally:
            lab.close()


@pytest.fixture(autouse=True)
def no_domains(libvirt):
    """Each test's domains go with it: what fails in one says nothing of the next."""
    yield
    for name in libvirt.run("virsh list --all --name").split():
        libvirt.try_run(f"virsh destroy {name}")
        libvirt.run(f"virsh undefine {name}")
    libvirt.wait(lambda: ports(libvirt) == set(), "no port is left")


def done(channel, command):
    ident, state = channel.run(command)
    assert channel.wait_for(lambda: state.exit is not None or channel.closed, PATIENCE), f"{command}: {state.output}"
    assert state.exit == 0, f"{command}: {state.exit}: {state.output.decode()}"
    return state.output.decode()


def ports(libvirt):
    return set(libvirt.run("netmapctl list").split())


def test_life(libvirt):
    """Define, start, packets, reset, destroy: the port is there as long as the domain runs, and belongs to QEMU's user."""
    libvirt.define("one", "netmap,ifname=vale1:one,passthrough=on,mac=52:54:00:aa:00:01")
    assert ports(libvirt) == set()
    libvirt.run("virsh start one")
    assert ports(libvirt) == {"vale1:one"}
    status = json.loads(libvirt.run("netmapctl status --json"))
    assert [m["name"] for m in status["vms"]] == ["one"]
    assert {p["user"] for p in status["ports"]} == {int(libvirt.run("id -u libvirt-qemu"))}
    guest = libvirt.guest("one")
    assert guest.wait_for(lambda: guest.hellos == 1, PATIENCE), "the guest boots"
    done(guest, "modprobe netmap; grep -q 52:54:00:aa:00:01 /sys/class/net/*/address")
    name = re.search(r"net/(\w+)/address", done(guest, "grep -l 52:54:00:aa:00:01 /sys/class/net/*/address")).group(1)
    done(guest, f"ip link set {name} up")
    receiver = guest.run(f"pkt-gen -i {name} -f rx -n 500 -T 200 --check")[1]
    # It prints its first line of numbers when its port is open; all 500 packets fit into the ring.
    libvirt.wait(lambda: b"\nmain: " in receiver.output or receiver.exit is not None, "the guest's receiver")
    libvirt.run("pkt-gen -i vale1:host -f tx -n 500 -R 500 -T 200 --check")
    assert guest.wait_for(lambda: receiver.exit is not None, PATIENCE) and receiver.exit == 0, receiver.output
    assert b"received 500 lost 0" in receiver.output
    # Restarted, it has the same port.
    libvirt.run("virsh reset one")
    assert guest.wait_for(lambda: guest.hellos == 2, PATIENCE), "the guest boots again"
    assert "ptnet" in done(guest, f"modprobe netmap; ls -l /sys/class/net/{name}/device/driver")
    assert ports(libvirt) == {"vale1:one"}
    status, out = libvirt.try_run("virsh save one /tmp/one.save")
    assert status != 0 and "passed-through-ptnet-port" in out
    guest.close()
    libvirt.run("virsh destroy one")
    assert ports(libvirt) == set()
    assert libvirt.run("ls -A /run/ptnetmap") == ""


def test_refused(libvirt):
    """What the policy forbids, and a fragment that doesn't fit: the domain doesn't start, and virsh says why."""
    libvirt.define("two", "netmap,ifname=vale9:two,passthrough=on")
    status, out = libvirt.try_run("virsh start two")
    assert status != 0 and re.search(r"vale9:two: no rule of /etc/netmapd/policy.conf allows it to user \d+; '", out), out
    libvirt.run(r"sed -i 's,/two/mem0,/two/mem1,; s,vale9,vale1,' /tmp/two.xml && virsh undefine two && virsh define /tmp/two.xml")
    status, out = libvirt.try_run("virsh start two")
    assert status != 0 and "print it anew with qemu-ptnet --libvirt-xml" in out, out
    assert ports(libvirt) == set() and libvirt.run("ls -A /run/ptnetmap") == ""


def test_killed(libvirt):
    """QEMU that is killed lets go as well; so does the domain whose ports were lost with their owner, when it ends."""
    libvirt.define("three", "netmap,ifname=vale1:three,passthrough=on")
    libvirt.run("virsh start three && kill -9 $(cat /run/libvirt/qemu/three.pid)")
    libvirt.wait(lambda: ports(libvirt) == set() and "three" not in libvirt.run("virsh list --name; ls -A /run/ptnetmap"), "it lets go")
    libvirt.run("virsh start three && kill -9 $(cat /run/ptnetmap/three/pid)")
    libvirt.wait(lambda: ports(libvirt) == set(), "the ports are gone")
    libvirt.try_run("virsh destroy three")     # QEMU may have ended by itself, when it lost them
    libvirt.wait(lambda: libvirt.run("virsh domstate three").strip() == "shut off", "the domain has ended")
    libvirt.run("virsh start three")
    assert ports(libvirt) == {"vale1:three"}
    libvirt.run("virsh destroy three")


def page_commands(title, next_title):
    """Those of a section of netmap-libvirt(7)."""
    page = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=400", REPO / "tools/libvirt/netmap-libvirt.7"],
                          capture_output=True, text=True, check=True).stdout
    page = re.sub(".\b", "", page)     # bold letters
    section = page[page.index(f"\n{title}"):page.index(f"\n{next_title}")]
    return [line.strip()[2:] for line in section.splitlines() if line.strip().startswith("# ")]


def test_apparmor(libvirt):
    """The rules of the page compile, with Debian's profiles, and are in them. Whether they do is test_apparmor.py's."""
    commands = page_commands("APPARMOR", "FILES")
    assert len(commands) == 4 and commands[-1].startswith("apparmor_parser -r ")
    for command in commands[:-1]:
        libvirt.run(command)
    libvirt.run("sed s/LIBVIRT_TEMPLATE/libvirt-x/ /etc/apparmor.d/libvirt/TEMPLATE.qemu >/etc/apparmor.d/libvirt/libvirt-x")
    for profile, rule in ("libvirt/libvirt-x", "/run/netmapd/vm*/{net,mem}* rw,"), ("usr.sbin.libvirtd", "netmap-libvirt-hook PUx,"):
        parser = "apparmor_parser --skip-kernel-load --skip-cache --features-file /usr/share/apparmor-features/features"
        libvirt.run(f"{parser} /etc/apparmor.d/{profile}")
        assert rule in libvirt.run(f"{parser} --preprocess /etc/apparmor.d/{profile}")


def test_hot_plug(libvirt):
    """A port for a running domain, as netmap-libvirt(7) has it."""
    libvirt.define("four", "netmap,ifname=vale1:four,passthrough=on")
    libvirt.run("virsh start four")
    commands = page_commands("HOT-PLUG", "APPARMOR")
    assert len(commands) == 5
    added, removed = commands[:4], commands[4:]
    for command in added:
        libvirt.run(command.replace("web", "four"))
    assert ports(libvirt) == {"vale1:four", "vale1:more"}
    devices = libvirt.run("virsh qemu-monitor-command four --hmp 'info qtree'")
    assert 'id "more-net"' in devices and 'id "more-mem"' in devices
    for command in removed:
        libvirt.try_run(command.replace("web", "four"))
    libvirt.wait(lambda: ports(libvirt) == {"vale1:four"}, "it is gone")
    libvirt.run("virsh destroy four")


def test_autostart(libvirt):
    """As after a boot: libvirtd starts it, and has its ports."""
    libvirt.define("five", "netmap,ifname=vale1:five,passthrough=on")
    libvirt.run("virsh autostart five")
    libvirt.run("kill $(cat /run/libvirtd.pid); while [ -e /run/libvirtd.pid ]; do sleep 0.1; done; rm -rf /run/libvirt/qemu; libvirtd -d")
    libvirt.wait(lambda: "vale1:five" in ports(libvirt), "it is started")
    libvirt.wait(lambda: libvirt.try_run("virsh domstate five")[1].strip() == "running", "it runs")
    libvirt.run("virsh destroy five")
    assert ports(libvirt) == set()
