# SPDX-License-Identifier: BSD-2-Clause
"""The commands of the pages in docs/, for tests/daemon/test_docs.py, which runs them."""

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

# Lines that are no commands: of configuration files, of a screen, of a drawing, of an error.
_NO_COMMAND = re.compile(r"allow |limit |set |port |attach |place |# /|[ABC]   -netdev|-netdev|in B:|memory: user|\$ |"
                         r"\[Service\]|Capability|Ambient|PrivateDevices|DeviceAllow|RestrictAddr|"
                         r"worker \d|(tx|rx) \d|PORT  |vale1:(rx|tx)  |netmapd 0\.1\.0,")


def sections(page):
    """{title: its commands, in their order}; those that go on in the next line are one."""
    found, title = {}, ""
    for line in (REPO / f"docs/{page}.md").read_text().replace("\\\n", " ").splitlines():
        heading = re.match(r"##+ (.*)", line)
        if heading:
            title = heading.group(1)
        elif line.startswith("    ") and line.strip() and not _NO_COMMAND.match(line.strip()):
            found.setdefault(title, []).append(re.sub(r"\s+#\s.*", "", line.strip()))
    return found
