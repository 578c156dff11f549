# SPDX-License-Identifier: BSD-2-Clause
"""The commands of the pages. tests/daemon/test_docs.py runs those of hosts, tests/guest/test_ptnet_card.py those of guests."""

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

# Pages for users: each command is run, or has a test of its own (test_docs.py).
USERS = {"howto": "docs/howto.md", "operators": "docs/operators.md", "metrics": "docs/metrics.md", "README": "README.md"}
# Pages for developers: what a command names is there.
DEVELOPERS = {"testing": "docs/testing.md", "benchmark": "docs/benchmark.md", "CONTRIBUTING": "CONTRIBUTING.md"}

# Lines that are no commands: of configuration files, of a screen, of a drawing, of an error.
_NO_COMMAND = re.compile(r"allow |limit |set |port |attach |place |full-wait |# /|memory: user|\$ |"
                         r"\[Service\]|Capability|Ambient|PrivateDevices|DeviceAllow|RestrictAddr|"
                         r"scrape_configs:|- job_name:|static_configs:|rule_files:|[|+]|guest  |"
                         r"worker \d|(tx|rx) \d|PORT  |vale1:(rx|tx)  |netmapd 0\.1\.0,|"
                         r"core: a step|Problem:|Evidence:|Why this way")
# Of a machine in a row of machines: its name, then its options of qemu-ptnet.
_MACHINE = re.compile(r"[ABC]   -netdev|-netdev|in B:")

# Where commands for guests stand, and which of them are for the host all the same.
_IN_GUESTS = {("howto", "In a Linux guest"), ("howto", "Is the packet memory cached?"), ("howto", "Switches and interfaces"),
              ("howto", "pkt-gen, netmap-bridge"), ("README", "Howto")}
_ON_HOSTS = re.compile(r"make |netmapctl |qemu-ptnet |pkt-gen -i vale1:30 ")


def _indented(path):
    """(title of the section, line): continued lines are one."""
    title = ""
    for line in (REPO / path).read_text().replace("\\\n", " ").splitlines():
        heading = re.match(r"##+ (.*)", line)
        if heading:
            title = heading.group(1)
        elif line.startswith("    ") and line.strip():
            yield title, line.strip()


def sections(page):
    """{title: its commands, in their order}."""
    found = {}
    for title, line in _indented({**USERS, **DEVELOPERS}[page]):
        if not _NO_COMMAND.match(line) and not _MACHINE.match(line):
            # What explains a command stands behind # or two spaces.
            found.setdefault(title, []).append(re.sub(r"\s+#\s.*| {2,}[a-z0-9(].*", "", line))
    return found


def machines(page):
    """{title: {name of a machine: its options}}; what is typed in one is left out."""
    found, name = {}, None
    for title, line in _indented(USERS[page]):
        if not _MACHINE.match(line) or line.startswith("in "):
            continue
        if not line.startswith("-"):
            name, line = line.split(maxsplit=1)
        of = found.setdefault(title, {})
        of[name] = f"{of.get(name, '')} {line}"
    return found


def typed_in(page):
    """Commands that are typed in a machine of a drawing: "in B:   netmap-bridge …"."""
    return [line.split(":", 1)[1].strip() for _, line in _indented(USERS[page]) if line.startswith("in ")]


def is_for_guests(page, title, line):
    return (page, title) in _IN_GUESTS and not _ON_HOSTS.match(line)


def for_guests():
    """(page, title, command): all that guests are to run."""
    found = [(page, title, line) for page in USERS for title, lines in sections(page).items()
             for line in lines if is_for_guests(page, title, line)]
    return found + [("howto", "A chain of middleboxes", line) for line in typed_in("howto")]


def with_commands():
    """Paths of the pages that have any, in the tree."""
    return [p.relative_to(REPO).as_posix() for p in [*sorted(REPO.glob("*.md")), *sorted(REPO.glob("docs/*.md"))]
            if p.name != "CHANGELOG.md" and list(_indented(p.relative_to(REPO)))]
