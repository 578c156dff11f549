#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmapctl metrics: what Prometheus' own tools and parsers make of it, and the alerts and the dashboard that use it."""

import http.client
import json
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from ptnet_real import BUILD, REPO, Connection, environment, finish, frame, run, spawn, wait_until

NETMAPCTL = BUILD / "tools/netmapctl"
METRICS = REPO / "tools/metrics"
SMALL = {"tx_slots": 64, "rx_slots": 64}


def metrics(daemon, *args):
    result = run(NETMAPCTL, "--socket", daemon.path, "metrics", *args)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def samples(text, parser=parse):
    """{(name, labels): value}; no sample is there twice."""
    found = {}
    for family in parser(text):
        for s in family.samples:
            key = s.name, tuple(sorted(s.labels.items()))
            assert key not in found, key
            found[key] = s.value
    return found


def sample(found, name, **labels):
    return found[f"netmapd_{name}", tuple(sorted(labels.items()))]


@pytest.fixture
def busy(daemon, open_port):
    """A netmapd with something of each kind."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    for _ in range(2):
        open_port("vale1:a", flags=0x300)  # monitors, which have the same name
    a.send(*[frame(2, 1, length=100)] * 70)
    b.receive(63)
    machine = Connection(daemon.path)
    machine.vm_create(b'we"b')
    machine.vm_add_port("vale1:vm")
    yield a, b
    machine.close()


def test_values(daemon, busy):
    """They are those of the status."""
    found = samples(metrics(daemon))
    assert sample(found, "up") == 1 and sample(found, "ports") == 5 and sample(found, "machines") == 1
    ring = {"port": "vale1:a", "direction": "tx", "ring": "0"}
    assert sample(found, "ring_packets_total", **ring) == 70 and sample(found, "ring_bytes_total", **ring) == 7000
    assert sample(found, "ring_drops_total", port="vale1:b", direction="rx", ring="0", cause="receiver_full") == 7
    assert sample(found, "ring_slots", **ring) == 64
    assert sample(found, "switch_ports", switch="vale1") == 3
    status = daemon.status()
    memory = next(e for e in status["limits"] if e["name"] == "memory")
    assert sample(found, "limit_each", limit="memory") == memory["limit"]
    assert sample(found, "worker_rings", worker="0") + sample(found, "worker_rings", worker="1") > 3
    kinds = [dict(labels)["kind"] for name, labels in found if name == "netmapd_port_info"]
    assert sorted(kinds) == ["monitor", "monitor", "vale", "vale", "vale"]
    busy_s = [value for (name, _), value in found.items() if name == "netmapd_worker_busy_seconds_total"]
    assert len(busy_s) == 2 and all(0 <= s < 60 for s in busy_s) and any(busy_s)


def test_openmetrics(daemon, busy):
    """The same samples, in the stricter format."""
    text = metrics(daemon, "--openmetrics")
    assert text.endswith("# EOF\n")
    strict, plain = samples(text, parse_openmetrics), samples(metrics(daemon))
    assert set(strict) == set(plain)
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics(daemon), capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_without_netmapd(place):
    result = run(NETMAPCTL, "--socket", place / "none", "metrics")
    assert result.returncode == 0 and samples(result.stdout) == {("netmapd_up", ()): 0}


def test_textfile(daemon, place):
    file = place / "netmapd.prom"
    for _ in range(2):
        metrics(daemon, "--textfile", file)
    assert sample(samples(file.read_text()), "up") == 1 and file.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in place.glob("netmapd.prom*")] == ["netmapd.prom"]
    result = run(NETMAPCTL, "--socket", daemon.path, "metrics", "--textfile", place / "no/where")
    assert result.returncode == 1 and "no/where" in result.stderr


# ------------------------------------------------------------ over HTTP


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def get(connection, path="/metrics", method="GET", **headers):
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply, text


@pytest.fixture
def server(daemon, place):
    child = spawn(NETMAPCTL, "--socket", daemon.path, "metrics", "--listen", f"unix:{place}/m", path=daemon.path)
    wait_until(lambda: (place / "m").exists() or child.poll() is not None, "it listens")
    wait_until(lambda: can_connect(place / "m"), "it takes connections")
    yield place / "m"
    child.terminate()
    finish(child)
    assert not (place / "m").exists()


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def test_http(server, busy):
    reply, text = get(UnixHTTP(server))
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert sample(samples(text), "ports") == 5
    reply, text = get(UnixHTTP(server), Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0") and text.endswith("# EOF\n")
    assert samples(text, parse_openmetrics)
    reply, text = get(UnixHTTP(server), method="HEAD")
    assert reply.status == 200 and text == ""
    assert get(UnixHTTP(server), "/")[0].status == 404 and get(UnixHTTP(server), "/metricsx")[0].status == 404
    assert get(UnixHTTP(server), method="POST")[0].status == 405


def test_http_slow_clients(server):
    """Those who say nothing, or nonsense, hold up nobody."""
    idle = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for s in idle:
        s.connect(str(server))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(server))
        s.sendall(b"\xff" * 10000)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(get(UnixHTTP(server))[0].status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert replies == [200] * 6
    for s in idle:
        s.close()


def test_http_loopback(daemon):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    child = spawn(NETMAPCTL, "--socket", daemon.path, "metrics", "--listen", f"127.0.0.1:{port}", path=daemon.path)

    def answers():
        try:
            return get(http.client.HTTPConnection("127.0.0.1", port, timeout=60))[0].status == 200
        except OSError:
            assert child.poll() is None, child.communicate()
            return False

    wait_until(answers, "it answers")
    child.terminate()
    finish(child)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, path):
    """What Prometheus answers; None while it doesn't."""
    try:
        reply, text = get(http.client.HTTPConnection("127.0.0.1", port, timeout=60), path)
    except OSError:
        return None
    return json.loads(text)["data"] if reply.status == 200 and text.startswith("{") else None


def test_prometheus_scrapes(daemon, busy, place):
    """A real Prometheus, as docs/metrics.md configures it: it has the samples, and evaluates the rules."""
    port, own = free_port(), free_port()
    config = (REPO / "docs/metrics.md").read_text()
    config = config[config.index("    scrape_configs:"):config.index("rule_files:")].replace("\n    ", "\n").strip()
    assert "localhost:9812" in config
    (place / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + config.replace("localhost:9812", f"127.0.0.1:{port}")
        + f"\nrule_files: [{METRICS}/netmapd.rules.yml]\n")
    exporter = spawn(NETMAPCTL, "--socket", daemon.path, "metrics", "--listen", f"127.0.0.1:{port}", path=daemon.path)
    with open(place / "prometheus.log", "w") as log:
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
             f"--web.listen-address=127.0.0.1:{own}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        def samples_there():
            assert prometheus.poll() is None, (place / "prometheus.log").read_text()
            data = ask(own, "/api/v1/query?query=netmapd_ring_packets_total%7Bport%3D%22vale1%3Aa%22%2Cdirection%3D%22tx%22%7D")
            return data and data["result"]

        result = wait_until(samples_there, "Prometheus has the packets", 120)
        assert [r["value"][1] for r in result] == ["70"] and result[0]["metric"]["job"] == "netmapd"
        target = ask(own, "/api/v1/targets")["activeTargets"][0]
        assert target["health"] == "up" and target["lastError"] == ""
        rules = [r for g in ask(own, "/api/v1/rules")["groups"] for r in g["rules"]]
        assert rules and all(r["lastError"] == "" if "lastError" in r else True for r in rules)
    finally:
        prometheus.kill()
        prometheus.wait()
        exporter.terminate()
        finish(exporter)


@pytest.mark.parametrize("address", ["0.0.0.0:9812", "9812", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[::]:80", "unix:", ""])
def test_http_nowhere_else(daemon, address):
    result = run(NETMAPCTL, "--socket", daemon.path, "metrics", "--listen", address)
    assert result.returncode == 2 and result.stderr.count("\n") == 1


# ------------------------------------------------------------ names, alerts, dashboard


def exported(daemon):
    """Metrics that have a sample, and those that only have their names."""
    text = metrics(daemon)
    return set(re.findall(r"^# TYPE (netmapd_\w+)", text, re.M)), {name for name, _ in samples(text)}


def test_names_are_documented(daemon, busy):
    """All of them, and no others."""
    documented = set(re.findall(r"`(netmapd_\w+)`", "\n".join(
        line.split("|")[1] for line in (REPO / "docs/metrics.md").read_text().splitlines() if line.startswith("| `netmapd_"))))
    assert documented == exported(daemon)[0]


def test_alerts(tmp_path):
    for command in ["check", "rules", "netmapd.rules.yml"], ["test", "rules", "netmapd.rules.test.yml"]:
        result = run("promtool", *command, cwd=METRICS)
        assert result.returncode == 0 and "FAILED" not in result.stdout, result.stdout + result.stderr
    # A check that can't fail would be none.
    rules = (METRICS / "netmapd.rules.yml").read_text().replace("> 0.95", "> 0.2")
    (tmp_path / "netmapd.rules.yml").write_text(rules)
    (tmp_path / "test.yml").write_text((METRICS / "netmapd.rules.test.yml").read_text())
    assert run("promtool", "test", "rules", "test.yml", cwd=tmp_path).returncode != 0


def names_in(expression):
    return set(re.findall(r"netmapd_\w+", expression))


def labels_in(expression):
    """Those that an expression matches, sums by, or joins on."""
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    listed = ",".join(re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression))
    return set(matched) | {name.strip() for name in listed.split(",") if name.strip()}


def labels_of(daemon, names):
    """Those that Prometheus adds, and those of samples of these metrics."""
    return {"instance", "job", "le"}.union(*(dict(labels) for name, labels in samples(metrics(daemon)) if name in names))


def test_labels_of_the_dashboard(daemon, busy):
    """Each panel's expressions and legends name labels that its metrics have; a legend that the panel shows says so."""
    dashboard = json.loads((METRICS / "netmapd.dashboard.json").read_text())
    looked_at = 0
    for panel in dashboard["panels"]:
        legend = panel.get("options", {}).get("legend")
        assert legend is None or legend["showLegend"], panel["title"]
        for target in panel["targets"]:
            wanted = labels_in(target["expr"]) | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")))
            if names_in(target["expr"]) <= exported(daemon)[1]:     # with a sample
                assert wanted <= labels_of(daemon, names_in(target["expr"])), (panel["title"], target)
                looked_at += 1
    assert looked_at >= 10


def test_alerts_and_dashboard_use_what_there_is(daemon, busy, tmp_path):
    """Names that are exported; expressions that Prometheus understands; panels that don't overlap."""
    names = exported(daemon)[0]
    rules = (METRICS / "netmapd.rules.yml").read_text()
    assert names_in("\n".join(re.findall(r"expr: (.*)", rules))) <= names
    dashboard = json.loads((METRICS / "netmapd.dashboard.json").read_text())
    expressions, places = [], set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places and at["x"] + at["w"] <= 24
        places |= cells
        expressions += [t["expr"] for t in panel["targets"]]
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"]) >= 15
    variables = {v["name"] for v in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(dashboard["panels"])))
    assert used <= variables | {"__rate_interval"}
    for variable in dashboard["templating"]["list"]:
        assert names_in(json.dumps(variable)) <= names
    assert all(names_in(e) and names_in(e) <= names for e in expressions)
    lines = ["groups:", "  - name: d", "    rules:"]
    for n, e in enumerate(expressions):
        e = e.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$port", ".*")
        lines += [f"      - record: a{n}", f"        expr: {json.dumps(e)}"]
    Path(tmp_path / "d.yml").write_text("\n".join(lines) + "\n")
    result = run("promtool", "check", "rules", tmp_path / "d.yml", env=environment())
    assert result.returncode == 0 and f"{len(expressions)} rules found" in result.stdout, result.stdout + result.stderr
