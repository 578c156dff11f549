# SPDX-License-Identifier: BSD-2-Clause
"""Programs that everybody has, between two guests on a switch: iperf3, ssh, NFS, ping. make programs-long: with PROGRAM_MIB, and more
sizes."""

import json
import os
import re

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py
LONG = "PROGRAM_MIB" in os.environ
MIB = int(os.environ.get("PROGRAM_MIB", "4"))
SECONDS = 60 + 2 * MIB       # of one program, emulated; at the worst eight times as much
V6 = "fd00::"
SSH_PORT = 2222


@pytest.fixture(scope="module")
def pair_of_kernel(kernel, netmap_ko):
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"programs-{kernel.line}.netmapd", "--full-wait-ms", "10000") as daemon:
        initramfs = ptnguest.build_initramfs(kernel, kos=[netmap_ko], programs=[
            "iperf3", "ping", "ethtool", "dbclient", "dropbear", "dropbearkey"], modules=["nfsd", "nfsv4"])
        nodes = [netlab.Node(kernel, initramfs, daemon, i, f"programs-{kernel.line}-{i}", memory=f"{256 + 3 * MIB}M") for i in (1, 2)]
        for node in nodes:
            node.daemon = daemon
        with netlab.running(nodes):
            for node in nodes:
                node.load()
                # Buffers of sockets hold all that comes at once: no test decides by time.
                node.run("cd /proc/sys/net/core; echo 16777216 | tee rmem_max wmem_max rmem_default > /dev/null")
                begin_v6(node)
                node.iperf, node.iperf_runs = node.spawn("iperf3 -s --forceflush"), 0
            yield nodes


def begin_v6(node):
    """Of an interface that is up; with an MTU below 1280 it forgets all of that."""
    node.run("cd /proc/sys/net/ipv6/conf/data; echo 0 > accept_dad; echo 0 > disable_ipv6; "
             f"ip addr replace {V6}{node.number}/64 dev data")


@pytest.fixture
def pair(pair_of_kernel):
    """Nothing may be lost on the switch meanwhile."""
    before = losses(pair_of_kernel)
    yield pair_of_kernel
    assert losses(pair_of_kernel) == before
    for node in pair_of_kernel:
        node.assert_clean_log()


def losses(nodes):
    """Of the switch, by cause, and what the drivers say that they have dropped."""
    drivers = [{name: n for name, n in node.counters().items() if "drop" in name} for node in nodes]
    return netlab.switch_counts(nodes[0].daemon, "receiver_full", "expired"), drivers


def address(node, family):
    return node.address if family == 4 else f"{V6}{node.number}"


def iperf(client, server, family, *words):
    """What the client reports at the end. Between two clients the server doesn't listen for a moment."""
    server.iperf_runs += 1
    server.iperf.wait_output("Server listening", times=server.iperf_runs)
    done = client.run(f"iperf3 -J -{family} -c {address(server, family)} {' '.join(words)}", SECONDS, check=False)
    _, begin, report = done.out.partition("{")    # "UDP block size 8000 exceeds TCP MSS", on one more line
    report = json.loads(begin + report)
    assert done.rc == 0 and "error" not in report, done.out
    return report["end"]


@pytest.mark.parametrize("streams", [1, 8])
@pytest.mark.parametrize("way", ["", "-R"], ids=["there", "back"])
@pytest.mark.parametrize("family", [4, 6])
def test_iperf_tcp(pair, family, way, streams):
    end = iperf(*pair, family, "-P", str(streams), "-n", f"{MIB}M", way)
    print(f"{end['sum_received']['bits_per_second'] / 1e6:.0f} Mbit/s, {end['sum_sent']['retransmits']} sent again")
    assert end["sum_sent"]["bytes"] >= MIB << 20
    assert 0 < end["sum_received"]["bytes"] <= end["sum_sent"]["bytes"]     # it doesn't wait for the last of them


@pytest.mark.parametrize("streams", [1, 8])
@pytest.mark.parametrize("way", ["", "-R"], ids=["there", "back"])
@pytest.mark.parametrize("family", [4, 6])
def test_iperf_udp(pair, family, way, streams):
    """As many datagrams as the receiver's buffers hold at once: all arrive, in order."""
    for size in (64, 1400, 8000) if LONG else (1400,):
        end = iperf(*pair, family, "-u", "-b", "20M", "-l", str(size), "-P", str(streams), "-k", "400", way)
        assert end["sum"]["packets"] >= 400 and end["sum"]["lost_packets"] == 0, end["sum"]
        assert all(stream["udp"]["out_of_order"] == 0 for stream in end["streams"])


def test_ssh(pair):
    """A file through ssh, there and back: its checksum is that of what was sent."""
    a, b = pair
    a.run("[ -e key ] || dropbearkey -t ed25519 -f key > key.txt")
    public = re.search(r"^ssh-\S+ \S+", a.run("cat key.txt").out, re.M).group()
    b.run(f"mkdir -p /root/.ssh /etc/dropbear; chmod 700 / /root /root/.ssh; echo '{public}' > /root/.ssh/authorized_keys; "
          "echo /bin/sh > /etc/shells; chmod 600 /root/.ssh/authorized_keys; "
          f"netstat -ltn | grep -q :{SSH_PORT} || dropbear -R -p {SSH_PORT}")
    ssh = f"dbclient -y -y -i key -p {SSH_PORT} root@{b.address}"
    # What is sent goes through a checksum, and is stored nowhere.
    out = a.run(f"rm -f copy; mkfifo copy; sha256sum < copy > sent & head -c {MIB << 20} /dev/urandom | tee copy | "
                f"{ssh} 'tee /tmp/got | sha256sum' > got; wait; cat sent got", SECONDS).out
    sent, got = out.splitlines()[-2:]
    assert sent == got and len(sent.split()[0]) == 64, out
    assert int(b.run("wc -c < /tmp/got").out) == MIB << 20
    back = a.run(f"{ssh} 'cat /tmp/got; rm /tmp/got' | sha256sum", SECONDS).out
    assert back.splitlines()[-1] == sent


def serve_nfs(node, client):
    """A file system in memory, for that client. What rpc.mountd and rpc.nfsd tell the kernel is told here: who he is, what he may have,
    and which file system his handles are of (fsid 0, the root of NFSv4); 9218: fsid, any port, no check of subtrees."""
    forever = 2 ** 31 - 1
    node.run(f"""set -e
        modprobe nfsd; mkdir -p /export; mount -t tmpfs -o size={MIB + 16}m export /export; mount -t nfsd nfsd /proc/fs/nfsd
        echo "nfsd {client.address} {forever} client" > /proc/net/rpc/auth.unix.ip/channel
        echo "client /export {forever} 9218 65534 65534 0" > /proc/net/rpc/nfsd.export/channel
        echo "client 1 \\x00000000 {forever} /export" > /proc/net/rpc/nfsd.fh/channel
        echo "-3 +4" > /proc/fs/nfsd/versions; echo 10 > /proc/fs/nfsd/nfsv4gracetime
        echo "tcp 2049" > /proc/fs/nfsd/portlist; echo 4 > /proc/fs/nfsd/threads""")


def mount_nfs(node, server):
    """Anew: it has nothing in its cache."""
    node.run("umount /mnt", check=False)
    node.run("modprobe nfsv4; mkdir -p /mnt; "
             f"mount -i -t nfs4 -o vers=4.2,addr={server.address},clientaddr={node.address} {server.address}:/ /mnt", 120)


def test_nfs(pair):
    """A large file and many small ones: what the client writes the server has, and what it reads then is that."""
    client, server = pair
    serve_nfs(server, client)
    mount_nfs(client, server)
    client.run(f"set -e; head -c {MIB << 20} /dev/urandom > /mnt/large; mkdir /mnt/small; "
               "for i in $(seq 200); do seq $i > /mnt/small/$i; done; sync", SECONDS)
    sums = "cd {}; sha256sum large small/* | sha256sum"
    wanted = server.run(sums.format("/export"), SECONDS).out
    assert server.run("ls /export/small | wc -l; wc -c < /export/large").out.split() == ["200", str(MIB << 20)]
    mount_nfs(client, server)
    assert client.run(sums.format("/mnt"), SECONDS).out == wanted
    client.run("umount /mnt")
    server.run("echo 0 > /proc/fs/nfsd/threads; umount /proc/fs/nfsd /export", 120)


@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_ping_boundaries(pair, mtu):
    """Around the MTU, whole and in fragments, and the longest there is: all come back with their contents (ping compares them)."""
    try:
        for family, headers, longest in ((4, 28, 65507), (6, 48, 65527)):
            if family == 6 and mtu < 1280:
                continue
            for node in pair:
                node.run(f"ip link set data mtu {mtu}")
            for sender, receiver in (pair, reversed(pair)) if LONG else (pair,):
                ping_around(sender, receiver, family, mtu - headers, longest)
    finally:
        for node in pair:
            node.run("ip link set data mtu 1500")
            begin_v6(node)


def ping_around(sender, receiver, family, fits, longest):
    """An answer has what was sent, or ping says otherwise. By its path: the shell's own ping can't forbid fragments. One by one: behind
    the last of two it waits for twice the time that the first one took."""
    ping = f"/bin/ping -{family} -c 1 -W 60 -p 0f1e2d3c4b5a6978 {address(receiver, family)}"
    whole = (0, 1, fits - 1, fits) if LONG else (fits,)
    cut = (fits + 1, 2 * fits + 1, 8192, 65506, longest) if LONG else (fits + 1, longest)
    for how, sizes in (("do", whole), ("dont", cut)):
        for size in sizes:
            for _ in range(2):
                out = sender.run(f"{ping} -M {how} -s {size}", 90).out
                assert " 0% packet loss" in out and "wrong data" not in out, out
    refused = sender.run(f"{ping} -M do -s {fits + 1}", 90, check=False)
    assert refused.rc != 0 and re.search("[Mm]essage too long", refused.out), refused.out
