#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A Debian 13 with systemd and the packages, booted: the service, its users, the journal, network interfaces, purge, `apt install`.

Commands of docs/operators.md and docs/howto.md stand here as they stand there. Without --everything, the same users meet
a netmapd of the packages in a Debian 13 that isn't booted.
"""

import json
import re
import socket

import pytest

import ptnguest     # found by conftest.py
from lab import REPO, USER_SPACE, Processes, System, build_packages
from ptnguest.channel import Channel

pytestmark = [pytest.mark.xdist_group("packages-service")]

POLICY = "limit user bob ports=8 connections=8\nallow user eve capture valeu*:*\nallow user alice port eth1 eth1^\n"
USERS = ("alice", "bob")
MACHINES = (1, 2)
PATIENCE = 400      # seconds; only a failure takes so long
REFUSALS = "no rule of|is for root|[Oo]peration not permitted|no port|no such|not allowed|by root|root and the user|is not for user"

PROGRAMS = {
    # Connects to a machine's socket: does it stay connected for so many seconds, or does who serves it hang up?
    "connect": """use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un($ARGV[0])) or die "no connection: $!";
$SIG{ALRM} = sub { print "served"; exit }; alarm $ARGV[1]; print sysread($s, my $b, 1) ? "talks" : "hung up";""",
    "get": """use IO::Socket; my $s = IO::Socket::INET->new("127.0.0.1:9812") or die "no connection: $!";
print $s "GET /metrics HTTP/1.0\\r\\n\\r\\n"; print <$s>;""",
}


def in_each(test):
    """In processes of a Debian, and in a booted one: first in that, as pytest puts together what has the same place in the list."""
    return pytest.mark.parametrize("guest", [pytest.param("booted", marks=pytest.mark.everything), "processes"], indirect=True,
                                   scope="module")(test)


def booted(test):
    return pytest.mark.everything(pytest.mark.parametrize("guest", ["booted"], indirect=True, scope="module")(test))


# As netmapd.service does it.
START = """mount -t tmpfs -o mode=755 none /run
mkdir /run/netmapd
chown netmap: /run/netmapd
setpriv --reuid netmap --regid netmap --clear-groups netmapd --socket /run/netmapd/socket --group netmap --nic off --background \\
    --policy /etc/netmapd/policy.conf"""


def installed(system):
    debs = [path for name, path in build_packages().items() if name in USER_SPACE]
    system.run("for u in alice bob carol eve; do useradd -m -s /bin/sh $u; done")
    system.install(*debs)
    system.run("adduser alice netmap && adduser bob netmap && adduser eve netmap")
    (system.root / "etc/netmapd/policy.conf").write_text(POLICY)
    system.bring(*debs, to="root/build/deb")
    system.bring(ptnguest.BUILD / "tests/soak/soak_vfio", to="usr/local/bin")
    for name, text in PROGRAMS.items():
        (system.root / "usr/local/bin" / name).write_text(f"#!/usr/bin/perl\n{text}\n")
        (system.root / "usr/local/bin" / name).chmod(0o755)
    return system


@pytest.fixture(scope="module")
def guest(request, tmp_path_factory):
    with System("trixie", "base" if request.param == "processes" else "boot") as system:
        if request.param == "processes":
            guest = Processes(installed(system), START)
        else:
            guest = installed(system).boot(tmp_path_factory.mktemp("guest"), name="packages-service").start(120)
            guest.run("timeout 600 systemctl is-system-running --wait", timeout=600, check=False)
        yield guest
        guest.close()


def as_user(user, command):
    """The shell command of a login of this user."""
    return f"setpriv --reuid {user} --regid {user} --init-groups env HOME=/home/{user} NETMAPD_SOCKET=/run/netmapd/socket sh -c '{command}'"


def until(guest, condition):
    guest.run(f"for i in $(seq 600); do {condition} && exit; sleep 0.1; done; exit 1", timeout=90)


def uid(guest, user):
    return guest.run(f"id -u {user}").out.strip()


def journal(guest, *fields):
    """The journal's entries of netmapd with these fields."""
    guest.run("journalctl --sync", timeout=60)
    out = guest.run(f"journalctl -u netmapd {' '.join(fields)} -o json --no-pager", timeout=60).out
    return [json.loads(line) for line in out.splitlines()]


@booted
def test_at_boot(guest):
    """The service is there after a boot, without anybody's doing, and for its group alone."""
    assert guest.run("systemctl is-active netmapd.socket netmapd.service").out.split() == ["active", "active"]
    out = guest.run("systemctl status netmapd.socket netmapd.service").out
    assert out.count("Active: active") == 2
    assert guest.run("stat -c '%U %G %a' /run/netmapd/socket").out == "netmap netmap 660\n"
    assert guest.run("ps -o user= -C netmapd").out.split() == ["netmap"]
    # Privileged, and of use only to who wants it.
    asked = guest.run("systemctl is-active netmapd-nic; systemctl is-enabled netmapd-nic", check=False)
    assert asked.out.split() == ["inactive", "disabled"]
    status = guest.run("cat /proc/$(systemctl show -P MainPID netmapd)/status").out
    assert re.search(r"^CapPrm:\s+0{16}$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M) and \
        re.search(r"^Seccomp:\s+2$", status, re.M)
    assert guest.run("systemctl list-units --failed --no-legend --plain").out == ""
    assert "serves /run/netmapd/socket" in guest.run("journalctl -u netmapd").out
    outsider = guest.run(as_user("carol", "netmapctl status"), check=False)
    assert outsider.rc == 3 and "/run/netmapd/socket" in outsider.out


class Owner:
    """A user with an application that receives, two machines whose ports qemu-ptnet holds, and two that exchange packets all the time,
    each of which is checked (tests/soak/soak_vfio.c; a lost one ends them)."""

    def __init__(self, guest, name):
        self.guest, self.name, self.uid = guest, name, uid(guest, name)
        self.switch = f"valeu{self.uid}_x"
        self.app = f"{self.switch}:app"
        self.machines = [f"{self.switch}:vm{n}" for n in MACHINES]
        self.receiver = guest.spawn(as_user(name, f"exec pkt-gen -i {self.app} -f rx"))
        for n, port in zip(MACHINES, self.machines):
            guest.run(as_user(name, f"mkdir ~/vm{n} && qemu-ptnet --hold ~/vm{n} -name {name}{n} -nic netmap,ifname={port},passthrough=on"))
        self.sockets = guest.run(f"for i in /home/{name}/vm?/net0 /home/{name}/vm?/mem0; do readlink -f $i; done").out.split()
        assert len(self.sockets) == 2 * len(MACHINES)
        self.flow = guest.spawn(as_user(name, f"echo $$ >~/flow.pid; exec soak_vfio flow /run/netmapd/socket {self.switch}2 0 >~/flow"))
        until(guest, f"netmapctl list | grep -q {self.app}")
        until(guest, f"[ $(tail -n 1 /home/{name}/flow 2>/dev/null || echo 0) -gt 0 ]")
        pid = guest.run(f"cat /home/{name}/flow.pid").out.strip()
        self.playing = [f"{self.switch}2:{side}{pid}" for side in "ab"]

    def ports(self):
        return {self.app, *self.machines, *self.playing}

    def does(self, command, timeout=60):
        return self.guest.run(as_user(self.name, command), timeout=timeout, check=False)

    def packets(self):
        """That the two machines have had of each other: a line each second."""
        return int(self.guest.run(f"tail -n 1 /home/{self.name}/flow").out)

    def more_packets(self):
        until(self.guest, f"[ $(tail -n 1 /home/{self.name}/flow) -gt {self.packets()} ]")

    def end_flow(self):
        """Its exit status: 1 when a packet was lost or changed."""
        self.guest.run(f"cd /home/{self.name} && [ -e flow.pid ] && kill $(cat flow.pid) && rm flow.pid", check=False)
        return self.flow.wait(60).rc

    def end(self):
        self.receiver.kill()
        self.receiver.wait()
        self.end_flow()
        # They may have ended with the service.
        self.guest.run(f"kill $(cat /home/{self.name}/vm?/pid)", check=False)


@pytest.fixture(scope="module")
def owners(guest):
    found = {name: Owner(guest, name) for name in USERS}
    yield found
    for owner in found.values():
        owner.end()
    until(guest, "[ -z \"$(netmapctl list)\" ]")


def wrong_requests(me, other):
    """Everything that one can ask for with the programs, of what is another's."""
    app, vm, mine, busy = other.app, other.machines[0], me.app, other.playing[0]
    yield from (f"pkt-gen -i {port} -f {way} -n 1" for port in (app, vm, busy, f"{app}2", f"{vm}2") for way in ("tx", "rx"))
    # Its pipes, monitors, one ring, a share of it, its memory.
    yield from (f"pkt-gen -i {name} -f rx -n 1" for name in
                (f"{app}{{1", f"{vm}}}1", f"{app}/r", f"{app}/t", f"{vm}/rz", f"{busy}/rt", f"{busy}/rz", f"{app}-0", f"{app}/x",
                 f"{mine}8@share={app}", f"{mine}8@1"))
    yield from (f"netmapctl {command}" for command in (
        *(f"capture {port} -c 1 -w /dev/null" for port in (app, vm, busy)), f"show {app}", f"show {vm}", f"rename {app} {mine}9",
        f"rename {mine} {other.switch}:mine", f"flush {other.switch}", f"macs {other.switch}", f"attach {other.switch}:tap9",
        f"detach {other.switch}:tap9", f"full-wait {app} 1", f"full-wait {other.switch} 1", "limit ports=1", "limit memory=1G/1G",
        "full-wait 9 1", f"full-wait {vm} any", f"full-wait {other.switch} any", "apply ~/set.conf", "apply ~/attach.conf"))
    yield from (f"vale-ctl {option} {name}" for option, name in (
        ("-n", "tap9"), ("-r", "tap9"), ("-a", f"{other.switch}:tap9"), ("-h", f"{other.switch}:tap9"), ("-d", f"{other.switch}:tap9")))
    yield f"qemu-ptnet --hold ~/none -nic netmap,ifname={vm}2,passthrough=on"
    yield f"qemu-ptnet --hold ~/none -nic netmap,ifname={app},passthrough=on"
    yield "pkt-gen -i netmap:u0_root -f rx -n 1"


def all_are_refused(guest, me, other):
    """In one go: each wants a process, and the guest is slow."""
    name, requests = me.name, list(wrong_requests(me, other))
    script = "\n".join(f"timeout 20 {command} </dev/null >/tmp/{name}.{n} 2>&1; echo $? >>/tmp/{name}.{n}"
                       for n, command in enumerate(requests))
    guest.run(f"cat >/tmp/{name}.sh <<'EOF'\nmkdir -p ~/none\necho set poll-us 1 >~/set.conf\n"
              f"echo attach {other.switch}:tap9 >~/attach.conf\n{script}\nEOF\nchmod 755 /tmp/{name}.sh")
    assert me.does(f"sh /tmp/{name}.sh", timeout=400).rc == 0
    results = guest.run(f"cd /tmp; for i in $(seq 0 {len(requests) - 1}); do cat {name}.$i; echo ===; done").out.split("===\n")
    for command, result in zip(requests, results):
        said, status = result.rstrip("\n").rsplit("\n", 1) if "\n" in result.rstrip("\n") else (result, "0")
        assert status not in ("0", "124"), f"{name}: {command}: {result}"
        assert re.search(REFUSALS, said), f"{name}: {command}: {said}"


def state(guest, owner):
    """Of his application's port, and what there is: all that doesn't count netmapd's rounds."""
    shown = guest.run(f"netmapctl show {owner.app} --json; netmapctl list").out
    return re.sub(r'"(\w*syncs|\w*steps)": \d+', "", shown)


@in_each
@pytest.mark.parametrize("name, other", [USERS, USERS[::-1]])
def test_the_other(owners, guest, name, other):
    """Neither opens, sees, captures or changes what is the other's, nor talks to his machines; what is his own he can."""
    me, other = owners[name], owners[other]
    assert set(me.does("netmapctl list").out.split()) == me.ports()
    seen = json.loads(me.does("netmapctl status --json").out)
    assert {p["name"] for p in seen["ports"]} == me.ports() and other.switch not in json.dumps(seen)
    assert {port["name"] for m in seen["vms"] for port in m["ports"]} == {*me.machines, *me.playing}
    assert {f"{name}{n}" for n in MACHINES} <= {m["name"] for m in seen["vms"]}
    before = state(guest, other)
    all_are_refused(guest, me, other)
    assert state(guest, other) == before
    # Machines' sockets: reached by their path, and closed at once.
    for path in other.sockets:
        guest.run(f"chmod o+x /home/{other.name} /home/{other.name}/vm?")
        said = me.does(f"connect {path} 30").out
        assert said == "hung up", (path, said)
    said = me.does(f"connect {me.sockets[0]} 2").out
    assert said == "served", said
    assert me.does(f"pkt-gen -i {me.switch}:more -f tx -n 100").rc == 0


@in_each
def test_root_and_rules(owners, guest):
    """Root sees all; one whom a rule lets captures all, and opens nothing."""
    assert set(guest.run("netmapctl list").out.split()) == owners["alice"].ports() | owners["bob"].ports()
    status = json.loads(guest.run("netmapctl status --json").out)
    assert len(status["vms"]) == 8 and {p["user"] for p in status["ports"]} == {int(o.uid) for o in owners.values()}
    alice = owners["alice"]
    capture = guest.spawn(as_user("eve", f"netmapctl capture {alice.app} -c 20 -w /dev/null && touch /tmp/captured"))
    # It has begun some time, and ends with its twentieth packet.
    alice.does(f"pkt-gen -i {alice.switch}:more -f tx -n 100000 -R 1000 & sender=$!; "
               f"for i in $(seq 600); do [ -e /tmp/captured ] && break; sleep 0.1; done; kill $sender", timeout=120)
    assert capture.wait(60).rc == 0, capture.output
    assert "no rule of" in guest.run(as_user("eve", f"pkt-gen -i {alice.app} -f rx -n 1"), check=False).out


@in_each
def test_at_the_limits(owners, guest):
    """bob takes all that he can get, and is told so; alice has what she had, and so have the machines of both."""
    alice, bob = owners["alice"], owners["bob"]
    out = bob.does("for i in 1 2 3 4 5 6 7; do pkt-gen -i valeu$(id -u)_x:m$i -f rx >/tmp/bob.$i 2>&1 & started=\"$started $!\"; done; "
                   "for i in $(seq 300); do grep -l \"at most 8\" /tmp/bob.? && break; sleep 0.1; done; kill $started; "
                   "cat /tmp/bob.?").out
    assert re.search(rf"(ports|connections): user {bob.uid} has 8 of at most 8, and 1 more", out), out
    assert alice.does(f"pkt-gen -i {alice.switch}:more -f tx -n 100").rc == 0
    shown = guest.run("COLUMNS=200 netmapctl limit ports").out
    assert re.search(r"\bbob \d of 8\b", shown) and re.search(r"\balice \d(,|$)", shown, re.M), shown


@in_each
def test_no_packet_was_lost(owners, guest):
    """Of those that two machines of each user exchange, whatever the other one, and they themselves, have tried meanwhile."""
    for owner in owners.values():
        owner.more_packets()
    assert [owner.end_flow() for owner in owners.values()] == [0, 0]


QEMU = """-nodefaults -display none -machine q35 -m 256M -kernel /boot/vmlinux -initrd /boot/initramfs \
-append "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check" \
-device virtio-serial-pci -device virtserialport,chardev=agent,nr=1,name=agent"""


class Real:
    """A user with two virtual machines of Debian's QEMU, run by qemu-ptnet; the first one sends to the second."""

    def __init__(self, guest, name):
        self.guest, self.name, self.uid = guest, name, uid(guest, name)
        self.switch = f"valeu{self.uid}_x"
        self.machines = self.playing = [f"{self.switch}:vm{n}" for n in MACHINES]
        self.app = self.machines[1]
        for n, port in zip(MACHINES, self.machines):
            guest.spawn(as_user(name, f"cd; exec qemu-ptnet -name {name}{n} -chardev socket,id=agent,path=agent{n},server=on,wait=off "
                                f"{QEMU} -nic netmap,ifname={port},passthrough=on,mac=52:54:00:00:00:0{n}"))

    def boot(self):
        """Both have an interface that is up: its name is the same."""
        self.agents = []
        for n in MACHINES:
            until(self.guest, f"[ -S /home/{self.name}/agent{n} ]")
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(f"/proc/{self.guest.pid}/root/home/{self.name}/agent{n}")
            self.agents.append(Channel(sock))
        for n, agent in zip(MACHINES, self.agents):
            assert agent.wait_for(lambda a=agent: a.hellos == 1, PATIENCE), "the guest boots"
            self.interface = self.run(agent, f"modprobe netmap; grep -l 52:54:00:00:00:0{n} /sys/class/net/*/address | cut -d/ -f5")
            self.run(agent, f"ip link set {self.interface} up")

    def run(self, agent, command):
        _, state = agent.run(command)
        assert agent.wait_for(lambda: state.exit is not None or agent.closed, PATIENCE), f"{command}: {state.output}"
        assert state.exit == 0, f"{command}: {state.exit}: {state.output.decode()}"
        return state.output.decode().strip()

    def send(self):
        """500 packets, for ten seconds or more: no more than a ring can hold, whoever waits for whom."""
        self.receiver = self.agents[1].run(f"pkt-gen -i {self.interface} -f rx -n 500 -T 400 --check")[1]
        # It prints its first line of numbers when its port is open.
        assert self.agents[1].wait_for(lambda: b"\nmain: " in self.receiver.output or self.receiver.exit is not None, PATIENCE)
        self.sender = self.agents[0].run(f"pkt-gen -i {self.interface} -f tx -n 500 -R 50 -T 400 --check")[1]

    def received(self):
        assert self.agents[1].wait_for(lambda: self.receiver.exit is not None, PATIENCE)
        return self.receiver.output.decode()

    def does(self, command, timeout=60):
        return self.guest.run(as_user(self.name, command), timeout=timeout, check=False)


@pytest.mark.everything
def test_real_machines():
    """Two users, each with two virtual machines that exchange packets: each tries everything with those of the other."""
    kernel = ptnguest.Kernel.get("6.12")
    ko = next(p for p in ptnguest.build_module(kernel) if p.name == "netmap.ko")
    ramdisk = ptnguest.build_initramfs(kernel, programs=[ptnguest.BUILD / "apps/pkt-gen"], kos=[ko])
    with System("trixie", "libvirt") as system:
        for path, name in (ramdisk, "initramfs"), (kernel.image, "vmlinux"):
            system.bring(path, to="boot")
            (system.root / "boot" / path.name).rename(system.root / "boot" / name)
        guest = Processes(installed(system), START)
        try:
            users = [Real(guest, name) for name in USERS]
            for user in users:
                user.boot()
            for me, other in users, users[::-1]:
                for user in users:
                    user.send()
                assert set(me.does("netmapctl list").out.split()) == set(me.machines)
                all_are_refused(guest, me, other)
                others = [vm for vm in json.loads(guest.run("netmapctl status --json").out)["vms"] if vm["name"].startswith(other.name)]
                assert len(others) == len(MACHINES)
                for vm in others:
                    assert me.does(f"connect /run/netmapd/vm{vm['id']}/net0 30").out == "hung up"
                for user in users:
                    assert "received 500 lost 0 reordered 0 duplicate 0 corrupt 0" in user.received()
        finally:
            guest.close()


@booted
def test_journal(owners, guest):
    """What they did is in the journal, with who, and why, as fields."""
    alice, bob = owners["alice"], owners["bob"]
    entries = journal(guest, f"USER={bob.uid}")
    assert entries and all(e["USER"] == bob.uid and e["SYSLOG_IDENTIFIER"] == "netmapd" for e in entries)
    assert any(e.get("CAUSE") == "EDQUOT" for e in entries), [e["MESSAGE"] for e in entries]
    assert not any(alice.switch in e["MESSAGE"] for e in entries)
    # Her machine's, whose socket he has tried.
    entries = journal(guest, f"PORT={alice.machines[0]}")
    turned = [e for e in entries if "is turned away" in e["MESSAGE"]]
    assert turned and all(e["PORT"] == alice.machines[0] for e in entries), entries
    machine = turned[0]["MACHINE"]
    assert re.fullmatch(r"vm\d+", machine), turned
    entries = journal(guest, f"MACHINE={machine}")
    assert len(entries) >= len(turned) and {e["MACHINE"] for e in entries} == {machine}, entries


WIRE = """modprobe -a veth tun
ip link add eth1 type veth peer name wire && ip link set eth1 up && ip link set wire up
ip addr add 10.9.1.1/24 dev wire && ip neigh add 10.9.1.2 lladdr 02:00:00:00:00:02 dev wire
ip addr add 10.9.2.1/24 dev eth1 && ip neigh add 10.9.2.2 lladdr 02:00:00:00:00:03 dev eth1
echo "allow alice eth1 ens8*" >> /etc/netmapd/nic.conf
printf 'allow alice eth1 host\nallow netmap eth1 host\n' >>/etc/netmapd/nic.conf"""


def datagrams(guest, to, receiver):
    """Until the receiver has what it wants."""
    sender = guest.spawn(f"exec bash -c 'while sleep 0.1; do echo x >/dev/udp/{to}/9; done'")
    try:
        assert receiver.wait(60).rc == 0, receiver.output
    finally:
        sender.kill()
        sender.wait()


@booted
def test_network_interfaces(guest):
    """netmapd-nic runs when it is enabled, and opens interfaces within systemd's sandbox, for netmapd and who its file names."""
    guest.run(WIRE)
    guest.run("systemctl enable --now netmapd-nic")
    until(guest, "systemctl -q is-active netmapd-nic && [ -S /run/netmapd-nic/nic.sock ]")
    assert "driver" in guest.run(as_user("alice", "netmapctl nic-check eth1")).out
    # From the wire, and to it.
    receiver = guest.spawn(as_user("alice", "exec pkt-gen -i netmap:eth1 -f rx -n 20"))
    until(guest, "netmapctl list | grep -q eth1")
    ports = {p["name"]: p["user"] for p in json.loads(guest.run("netmapctl status --json").out)["ports"]}
    assert ports["eth1"] == int(uid(guest, "alice"))
    datagrams(guest, "10.9.1.2", receiver)
    count = "cat /sys/class/net/wire/statistics/rx_packets"
    had = int(guest.run(count).out)
    guest.run(as_user("alice", "pkt-gen -i netmap:eth1 -f tx -n 200"), timeout=60)
    until(guest, f"[ $({count}) -ge {had + 200} ]")
    # What the host itself sends there.
    receiver = guest.spawn(as_user("alice", "exec pkt-gen -i netmap:eth1^ -f rx -n 20"))
    until(guest, "netmapctl list | grep -q eth1")
    datagrams(guest, "10.9.2.2", receiver)
    for port in "eth1", "eth1^":
        refused = guest.run(as_user("bob", f"pkt-gen -i netmap:{port} -f rx -n 1"), check=False)
        assert refused.rc != 0 and "no rule of" in refused.out, refused.out
    until(guest, "! netmapctl list | grep -q eth1")
    guest.run("systemctl disable --now netmapd-nic; ip link del eth1")
    until(guest, "! ls -d /var/tmp/systemd-private-*-netmapd-nic.service-*")     # systemd's: gone with the service


@booted
def test_metrics(guest):
    guest.run("systemctl enable --now netmapd-metrics")
    until(guest, "get >/tmp/metrics")
    assert re.search(r"^netmapd_ports\{|^netmapd_up|^netmapd_\w+ \d", guest.run("cat /tmp/metrics").out, re.M)
    guest.run("systemctl disable --now netmapd-metrics")


@booted
def test_persistent_ports(guest):
    """With the lines of docs/operators.md the service makes TAP devices, for root and whom a rule lets."""
    refused = guest.run("modprobe tun; vale-ctl -n tap0", check=False)
    assert refused.rc != 0 and "tap0" in refused.out, refused.out
    lines = re.search(r"^    \[Service\]\n(?:    \S.*\n)+", (REPO / "docs/operators.md").read_text(), re.M).group().replace("    ", "")
    guest.run(f"mkdir /etc/systemd/system/netmapd.service.d && cat >/etc/systemd/system/netmapd.service.d/tap.conf <<'EOF'\n{lines}EOF\n"
              "systemctl daemon-reload && systemctl restart netmapd && vale-ctl -n tap0 && ip link show tap0 && vale-ctl -r tap0")
    assert "no rule of" in guest.run(as_user("bob", "vale-ctl -n tap1"), check=False).out
    guest.run("rm -r /etc/systemd/system/netmapd.service.d; systemctl daemon-reload; systemctl restart netmapd")


@booted
def test_restart(guest):
    """Read again, started anew, on the same socket; started on demand, when it was stopped."""
    before = guest.run("systemctl show -P MainPID netmapd").out
    guest.run("echo 'limit user bob ports=7' >>/etc/netmapd/policy.conf && systemctl reload netmapd")
    until(guest, "netmapctl status -v | grep -q .; journalctl -u netmapd | grep -q 'reads its configuration again'")
    assert guest.run("systemctl show -P MainPID netmapd").out == before
    guest.run("systemctl restart netmapd && netmapctl status")
    assert guest.run("systemctl show -P MainPID netmapd").out not in (before, "0\n")
    guest.run("systemctl stop netmapd")
    assert guest.run("systemctl is-active netmapd", check=False).out == "inactive\n"
    guest.run(as_user("alice", "netmapctl status"))
    assert guest.run("systemctl is-active netmapd").out == "active\n"


@booted
def test_purge_and_apt_install(guest):
    """Nothing is left, also of what was enabled; and `apt install` from nothing brings the service up; once more, and it is held."""
    guest.run("systemctl enable --now netmapd-nic netmapd-metrics")
    until(guest, "systemctl -q is-active netmapd-nic netmapd-metrics")
    guest.run("dpkg -P netmapd ptnetmap-tools libnetmap-dev libnetmap1", timeout=240)
    assert guest.run("ls -d /run/netmapd* /run/ptnetmap* /etc/netmapd /var/lib/netmap* 2>/dev/null", check=False).out == ""
    # What others have is theirs: the kernel's headers, home directories, logs.
    elsewhere = "".join(f" -not -path '{path}/*'" for path in ("/root/build", "/home", "/usr/lib/modules", "/usr/src", "/var/log", "/tmp"))
    assert guest.run(f"find / -xdev -name '*netmap*'{elsewhere}; getent passwd netmap; getent group netmap", check=False).out == ""
    assert "netmapd" not in guest.run("systemctl list-units --all --no-legend --plain").out
    assert guest.run("ps -ef | grep -v grep | grep -c netmapd", check=False).out == "0\n"
    guest.run("cd /root && apt-get -qq -y install ./build/deb/*.deb", timeout=240)
    assert guest.run("systemctl is-active netmapd.socket netmapd.service").out.split() == ["active", "active"]
    guest.run("adduser alice netmap && netmapctl status && apt-mark hold netmapd")
    guest.run(as_user("alice", "netmapctl status"))
    guest.assert_clean_log()
