# SPDX-License-Identifier: BSD-2-Clause
"""The API tests of tests/api on /dev/netmap in a guest, and its stress program."""

import re
import signal

import pytest

import netlab
import ptnguest

TESTS = [name for path in sorted((ptnguest.ROOT / "tests/api").glob("*.c"))
         for name in re.findall(r"^TEST\((\w+)\)", path.read_text(), re.M)]
# What the guest's kernel has a part in; the rest is the core, the same for each kernel.
OF_KERNELS = ("device_", "older_", "kloop_", "csb_", "nic", "extmem", "poll_", "persistent_")
# An interface for tests of NICs, and its other end. busybox's own ip names only one of them.
NIC = ("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; /sbin/ip link add nmv0 type veth peer name nmv1; "
       "ip link set nmv0 up; ip link set nmv1 up")
PROGRAMS = [ptnguest.BUILD / path for path in (
    "tests/api/nmapi", "tests/api/nmstress", "apps/pkt-gen", "apps/netmap-bridge", "apps/vale-ctl")]
NMAPI_M32 = ptnguest.BUILD / "tests/api/nmapi-m32"


@pytest.fixture(scope="module")
def booted(kernel, netmap_ko):
    programs = [*PROGRAMS, *([NMAPI_M32] if NMAPI_M32.exists() else []), ("ip", "sbin/ip")]
    initramfs = ptnguest.build_initramfs(kernel, programs=programs, kos=[netmap_ko], modules=["veth"])
    with ptnguest.Guest(kernel, initramfs, name=f"api-{kernel.line}", memory="768M") as guest:
        guest.run("mount -t debugfs debugfs /sys/kernel/debug; modprobe netmap; modprobe veth")
        guest.run(NIC)
        yield guest
        # Nothing holds the module.
        guest.run("ip link del nmv0; rmmod netmap")
        guest.assert_clean_log()


def ports(guest):
    """Names of the ports that there are, those of network interfaces excepted."""
    shown = guest.run("cat /sys/kernel/debug/netmap/ports").out
    return [name for name, kind in re.findall(r"^(\S+): kind (\S+)", shown, re.M) if kind not in ("nic", "host")]


@pytest.fixture
def no_spare(booted, test):
    """The 254 regions of one test fit into the guest without the buffers that are spare for pipes and monitors."""
    parameter = "/sys/module/netmap/parameters/priv_buf_num"
    if test != "ports_of_a_switch":
        yield
        return
    before = booted.run(f"cat {parameter}").out.strip()
    booted.run(f"echo 0 > {parameter}")
    yield
    booted.run(f"echo {before} > {parameter}")


def run_test(booted, test):
    result = booted.run(f"NMAPI_NIC=nmv0 NMAPI_NIC_PEER=nmv1 nmapi {test}", 120, check=False)
    skipped = re.search(r"^ok \d+ - \w+ # SKIP (.*)", result.out, re.M)
    if skipped:
        pytest.skip(skipped[1])
    assert result.rc == 0 and re.search(r"^ok 1 - ", result.out, re.M), result.out
    booted.assert_clean_log()
    assert ports(booted) == []


@pytest.mark.parametrize("test", [test for test in TESTS if test.startswith(OF_KERNELS)])
def test_api(booted, test):
    run_test(booted, test)


@pytest.mark.one_kernel
@pytest.mark.parametrize("test", [test for test in TESTS if not test.startswith(OF_KERNELS)])
def test_api_of_the_core(booted, no_spare, test):
    run_test(booted, test)


@pytest.mark.one_kernel
def test_api_of_32_bits(booted):
    """A program of 32 bits finds everything where a 64-bit kernel has put it."""
    if not NMAPI_M32.exists():
        pytest.skip("the compiler can't build programs of 32 bits (gcc-multilib)")
    result = booted.run("NMAPI_NIC=nmv0 NMAPI_NIC_PEER=nmv1 nmapi-m32", 600, check=False)
    wrong = re.findall(r"^(?:#.*\n)*not ok .*", result.out, re.M)
    assert result.rc == 0 and not wrong and len(re.findall(r"^ok ", result.out, re.M)) > 100, wrong or result.out
    booted.assert_clean_log()
    assert ports(booted) == []


def test_stress(booted):
    """Many processes on few ports, killed at any moment: then nothing is left of them."""
    result = booted.run("nmstress 8 8", 120, check=False)
    assert result.rc == 0, result.out
    assert ports(booted) == []
    booted.assert_clean_log()
    # No file, no buffer: the module can go.
    booted.run("rmmod netmap; modprobe netmap")


def counted(guest, port, direction):
    """Packets of a port in one direction, and those dropped there by cause."""
    shown = guest.run("cat /sys/kernel/debug/netmap/ports").out
    block = re.search(rf"^{re.escape(port)}: kind .*\n((?:  .*\n)*)", shown, re.M)
    assert block, f"{port} is not there:\n{shown}"
    packets, drops = 0, {}
    for line in re.findall(rf"^  {direction} \d+: (.*)$", block[1], re.M):
        packets += int(re.search(r"\bpackets (\d+)", line)[1])
        for cause, n in re.findall(r"(\w+) (\d+)", line.split(" drops", 1)[1]):
            drops[cause] = drops.get(cause, 0) + int(n)
    return packets, drops


def test_conservation(booted):
    """Under overload: what went in is in a ring, or dropped and counted with its cause."""
    count = 20000
    reader = booted.spawn("pkt-gen -i valec:b -f rx -w 0 -T 3600000")
    idlers = [booted.spawn(f"pkt-gen -i {port} -f rx -w 0 -T 3600000") for port in ("valec:c", "valec:a/t")]
    keeper = booted.spawn("pkt-gen -i valec:a/R -f rx -w 0 -T 3600000")
    for command in (reader, *idlers, keeper):
        command.wait_output(r"^rx on ")
    for idler in idlers:
        idler.kill(signal.SIGSTOP)
    assert f"Sent {count} packets" in booted.run(f"pkt-gen -i valec:a/T -f tx -w 0 -n {count}", 60).out
    sent, errors = counted(booted, "valec:a", "tx")
    assert sent == count
    lost = 0
    for port in ("valec:b", "valec:c"):
        got, drops = counted(booted, port, "rx")
        assert got + sum(drops.values()) == count, (port, got, drops)
        lost += sum(drops.values())
    assert sum(errors.values()) == lost, errors
    seen, missed = counted(booted, "valec:a/t", "rx")
    assert seen + sum(missed.values()) == count and set(missed) == {"missed"}, (seen, missed)
    for command in (reader, keeper, *idlers):
        command.kill(signal.SIGCONT)
        command.kill(signal.SIGINT)
        command.wait(30)


def test_bridge_and_its_stack(booted):
    """netmap-bridge between an interface and its own stack: the system goes on as if it was not there."""
    booted.run("ip addr add 10.9.0.1/24 dev nmv0; /sbin/ip netns add other; /sbin/ip link set nmv1 netns other; "
               "/sbin/ip netns exec other ip addr add 10.9.0.2/24 dev nmv1; "
               "/sbin/ip netns exec other ip link set nmv1 up")
    try:
        bridge = booted.spawn("netmap-bridge -w 0 -i nmv0")
        bridge.wait_output("^Bridging ")
        booted.run(netlab.pings("10.9.0.2"), 60)
        bridge.kill(signal.SIGINT)
        said = bridge.wait(30).out
        for line in said.splitlines()[1:]:
            assert re.search(r": [1-9]\d* packets, \d+ bytes, \d+ slots, zero copy, 0 dropped$", line), said
    finally:
        booted.run("/sbin/ip -n other link set nmv1 netns 1; /sbin/ip netns del other; ip addr flush dev nmv0; "
                   "ip link set nmv1 up")


def test_vale_ctl_attaches(booted):
    """An interface on a switch, with and without its stack."""
    for option, names in (("-a", ["valec:nmv0"]), ("-h", ["valec:nmv0", "valec:nmv0^"])):
        assert "valec:nmv0 is attached" in booted.run(f"vale-ctl -v {option} valec:nmv0").out
        listed = booted.run("vale-ctl").out
        assert sorted(line.split()[-1] for line in listed.splitlines()) == names, listed
        booted.run("vale-ctl -p valec:nmv0 -C 0,0; vale-ctl -P valec:nmv0")
        refused = booted.run("vale-ctl -a valeother:nmv0", check=False)
        assert refused.rc == 1 and refused.out.startswith("vale-ctl: ") and refused.out.count("\n") == 1
        booted.run("vale-ctl -d valec:nmv0")
        assert booted.run("vale-ctl").out == ""


def test_pkt_gen(booted):
    """Its ways to make frames, over /dev/netmap; no more than the receiver's ring holds."""
    for count, frames in ((300, "-F 3"), (200, "-F 5 -l 9000"), (500, "-6 -l 200"), (500, "-l 1500 -l 60 -zZ"), (500, "-H 12"),
                          (500, "-p 2 -C 256,256,2")):
        rx = booted.spawn(f"pkt-gen -i valeg:b -f rx -w 0 -k -n {count} -q 60")
        rx.wait_output(r"^rx on ")
        sent = booted.run(f"pkt-gen -i valeg:a -f tx -w 0 -k -n {count} -R 4000 {frames}", 60).out
        assert f"Sent {count} packets" in sent, sent
        assert f"Check: received {count} lost 0 reordered 0 duplicate 0 corrupt 0" in rx.wait(60).out, rx.output
    # Indirect buffers of a process are served by its own kernel, or dropped and counted.
    booted.run("pkt-gen -i valeg:a -f tx -w 0 -I -n 10")
