# SPDX-License-Identifier: BSD-2-Clause
"""Suricata, linked with libnetmap: intrusion detection on one port, prevention between two."""

import json
import re
import time
from datetime import datetime

import pytest

import capture

COUNT = 200
RULES = """\
alert udp any any -> any 7 (msg:"marked"; content:"ptnetmap was here"; sid:1000001; rev:1;)
drop udp any any -> any 9 (msg:"unwanted"; sid:1000002; rev:1;)
drop icmp any any -> any any (msg:"odd size"; dsize:201; sid:1000003; rev:1;)
"""
CONFIG = """\
%YAML 1.1
---
vars: {{address-groups: {{HOME_NET: any, EXTERNAL_NET: any}}, port-groups: {{HTTP_PORTS: "80"}}}}
default-log-dir: {dir}
logging: {{outputs: [{{console: {{enabled: yes, level: notice}}}}]}}
stats: {{enabled: yes, interval: 1}}
outputs:
  - eve-log: {{enabled: yes, filetype: regular, filename: eve.json, types: [alert, drop]}}
  - stats: {{enabled: yes, filename: stats.log, append: no, totals: yes, threads: no, null-values: yes}}
  - pcap-log: {{enabled: yes, filename: log.pcap, limit: 100mb, mode: normal}}
classification-file: {etc}/classification.config
reference-config-file: {etc}/reference.config
app-layer: {{protocols: {{}}}}
flow: {{memcap: 16mb, hash-size: 256, prealloc: 64, managers: 1, recyclers: 1}}
stream: {{memcap: 8mb, reassembly: {{memcap: 8mb}}}}
defrag: {{memcap: 4mb, hash-size: 256, trackers: 256, max-frags: 256, prealloc: no}}
max-pending-packets: 128
mpm-algo: ac
netmap:
"""


class Suricata:
    """A running one, in a home; its log files lie in the directory of that."""

    def __init__(self, home, tool, interfaces, threads="1"):
        self.home = home
        config = CONFIG.format(dir=home.dir, etc=tool.dir / "etc")
        for name, other in interfaces:
            config += f'  - {{interface: "{name}", threads: {threads}'
            config += f', copy-mode: ips, copy-iface: "{other}"}}\n' if other else "}\n"
        home.write("suricata.yaml", config.encode())
        home.write("local.rules", RULES.encode())
        program = tool.dir / "bin/suricata" if home.name == "host" else "suricata"
        self.command = home.spawn(f"{program} -c suricata.yaml -S local.rules -l {home.dir} --netmap -k none "
                                  "--runmode workers --set unix-command.enabled=no", tool.libraries)
        self.command.wait_output("Engine started", 60)

    def end(self):
        result = self.home.interrupt(self.command, 60)
        assert result.rc == 0 and not re.search("^E: ", result.out, re.M), result.out
        return result.out

    def events(self, kind):
        return [e for e in map(json.loads, self.home.read("eve.json").decode().splitlines()) if e["event_type"] == kind]

    def counter(self, name):
        """The last value that was written of one."""
        found = re.findall(rf"^{re.escape(name)} +\| Total +\| (\d+)$", self.home.read("stats.log").decode(), re.M)
        return int(found[-1]) if found else 0

    def wait_for_counter(self, name, count):
        end = time.monotonic() + self.home.patience
        while (n := self.counter(name)) < count:
            assert self.command.running, self.command.output
            assert time.monotonic() < end, f"{name} is {n}, not {count}: {self.command.output}"
            time.sleep(0.2)

    def packets(self):
        """What it has logged as seen."""
        return capture.read(self.home.read(self.home.run("ls | grep ^log.pcap").split()[0]))


def mixture(sport=2000):
    """[(kind, packet)]: most are harmless, of each ten one is marked (1) and one unwanted (2); each is a flow of its own."""
    kinds = {1: (7, b"ptnetmap was here"), 2: (9, b"unwanted")}
    mixed = []
    for n in range(COUNT):
        port, text = kinds.get(n % 10, (5000, b"harmless"))
        mixed.append((n % 10, capture.udp(b"%s %d %s" % (text, n, bytes([n]) * (40 + 5 * n)), sport + n, port)))
    return mixed


def times(events):
    return [datetime.fromisoformat(e["timestamp"][:-2] + ":" + e["timestamp"][-2:]).timestamp() for e in events]


@pytest.mark.parametrize("threads", ["1", "auto"])
@pytest.mark.ways(host=["vale"], guest=["veth", "virtio", "ptnet"])
def test_detection(program, way, threads):
    """Each packet is seen, as it is, with a time of now; the rule fires for those that it is for."""
    home, packets = way.home, mixture()
    begin = int(home.now())
    suricata = Suricata(home, program("suricata"), [(way.sink.removeprefix("netmap:"), None)], threads)
    home.send(capture.write([p for _, p in packets]), way.source)
    suricata.wait_for_counter("decoder.pkts", COUNT)
    suricata.end()
    end = home.now() + 1
    alerts = suricata.events("alert")
    assert [a["src_port"] for a in alerts if a["alert"]["signature_id"] == 1000001] == [2000 + n for n in range(1, COUNT, 10)]
    assert {a["alert"]["signature"] for a in alerts} == {"marked", "unwanted"}
    assert all(begin <= t <= end for t in times(alerts)), alerts
    assert suricata.counter("capture.kernel_packets") == COUNT and suricata.counter("capture.kernel_drops") == 0
    capture.expect(suricata.packets(), [p for _, p in packets], begin, end)


@pytest.mark.chains(host=["bare_pipes", "switches"], guest=["veth", "virtio", "ptnet", "switches"])
def test_prevention(program, chain):
    """Between two ports, both ways: what the rules don't drop goes on, in order and as it was."""
    home = chain.home
    begin = int(home.now())
    suricata = Suricata(home, program("suricata"), [chain.devices, chain.devices[::-1]])
    for source, sink, sport in ((chain.source, chain.sink, 2000), (chain.sink, chain.source, 3000)):
        packets = mixture(sport)
        passed = [p for kind, p in packets if kind != 2]
        tcpdump = home.spawn(f"tcpdump -Z root -i {sink} -w sink.pcap -c {len(passed)}", program("libpcap").libraries)
        tcpdump.wait_output("listening on ")
        home.send(capture.write([p for _, p in packets]), source)
        assert tcpdump.wait(60).rc == 0
        capture.expect(capture.read(home.read("sink.pcap")), passed, begin, home.now() + 1)
    suricata.wait_for_counter("decoder.pkts", 2 * COUNT)
    suricata.end()
    assert len(suricata.events("drop")) == 2 * COUNT // 10
    assert suricata.counter("ips.accepted") == 2 * len(passed) and suricata.counter("ips.blocked") == 2 * COUNT // 10


@pytest.mark.parametrize("threads", ["1", "2"])
def test_prevention_ahead_of_the_stack(program, guest, threads):
    """Between a wire and this machine's stack, one thread per ring: host rings as many as those of the NIC."""
    queues = f"numtxqueues {threads} numrxqueues {threads}"
    guest.run(f"""
        /sbin/ip link add wire {queues} type veth peer name nic {queues}
        /sbin/ip netns add other; /sbin/ip link set wire netns other
        /sbin/ip addr add 10.8.0.1/24 dev nic; /sbin/ip link set nic up
        /sbin/ip -n other addr add 10.8.0.2/24 dev wire; /sbin/ip -n other link set wire up""")
    try:
        suricata = Suricata(guest, program("suricata"), [("nic", "nic^"), ("nic^", "nic")], threads)
        for command in ("ping", "/sbin/ip netns exec other ping"):
            address = "10.8.0.2" if command == "ping" else "10.8.0.1"
            guest.run(f"for i in $(seq 20); do {command} -c 1 -W 60 {address} || exit 1; done", 90)     # each is answered, however late
            lost = guest.spawn(f"{command} -c 3 -i 0.1 -W 1 -s 201 {address}")
            assert lost.wait(60).rc != 0 and " 100% packet loss" in lost.output, lost.output
        suricata.end()
        alerts = suricata.events("alert")
        assert {(a["alert"]["signature_id"], a["alert"]["action"]) for a in alerts} == {(1000003, "blocked")}, alerts
        assert suricata.counter("ips.blocked") == 6
    finally:
        guest.run("/sbin/ip link del nic; /sbin/ip netns del other")
