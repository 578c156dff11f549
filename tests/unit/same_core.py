#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The engine is one: the module and the daemon are built from the same files of core/.

    same_core.py SOURCE-ROOT BUILD-DIRECTORY [netmap.ko ...]

Checks, with TAP output:
- what core/ may contain: no #ifdef on where it is, no system header;
- that Kbuild and Meson both compile exactly the files that core/sources.txt lists;
- that no function of core/ is written again in linux/, user/ or netmapd/;
- that the programs hold these files: every function of core is in the netmapd that was built,
  and in each netmap.ko (those given; else those below BUILD-DIRECTORY/module and
  SOURCE-ROOT/build/module; skipped when there is none, or when it is older than core/).
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The daemon's applications translate their older requests for themselves (netmap-run).
NOT_IN_DAEMON = {"legacy.c"}
# Each platform defines these, core/os.h asks for it.
PLATFORM_FUNCTION = re.compile(r"^os_\w+$")
# A body shorter than this, in characters without white space, may stand twice by chance.
COPY_LENGTH = 80


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = False

    def result(self, name, problems, skip=None):
        self.count += 1
        self.failed |= bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}" + (f" # SKIP {skip}" if skip else ""))
        for problem in problems:
            print(f"# {problem}")

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def without_comments(text):
    """C text with comments and the contents of strings blanked out, line by line as before."""
    def blank(match):
        found = match.group(0)
        return found if found[0] in "\"'" else re.sub(r"[^\n]", " ", found)

    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def functions(path):
    """Function definitions of a file: name -> (linkage is external, body without white space)."""
    text = without_comments(path.read_text())
    found = {}
    # At the margin: a declarator with a parameter list, then a brace at the margin.
    pattern = re.compile(r"^(?P<head>[A-Za-z_][^;{}#]*?\b(?P<name>\w+)\([^;{}]*\))\s*\n\{\n(?P<body>.*?)^\}", re.M | re.S)
    for match in pattern.finditer(text):
        static = re.search(r"\bstatic\b", match.group("head")) is not None
        found[match.group("name")] = (not static, re.sub(r"\s+", "", match.group("body")))
    return found


def platform_sources(root):
    return sorted(p for room in ("linux", "user", "netmapd") for p in (root / room).rglob("*.[ch]"))


def forbidden_in_core(root):
    problems = []
    for path in sorted((root / "core").glob("*.[ch]")):
        conditionals = []
        for number, line in enumerate(without_comments(path.read_text()).splitlines(), 1):
            where = f"core/{path.name}:{number}"
            include = re.match(r"\s*#\s*include\s*(\S+)", line)
            if include:
                name = include.group(1)
                if name.startswith("<"):
                    if not re.fullmatch(r"<net/netmap\w*\.h>", name):
                        problems.append(f"{where}: includes {name}")
                elif name == '"os_platform.h"':
                    if path.name != "os.h":
                        problems.append(f"{where}: only os.h may know the platform")
                elif not (root / "core" / name.strip('"')).exists():
                    problems.append(f"{where}: includes {name}, which is not in core/")
            elif re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line):
                conditionals.append((where, line.strip()))
        guard = re.sub(r"\W", "_", path.name).upper()
        if path.suffix == ".h" and conditionals and conditionals[0][1] == f"#ifndef CORE_{guard}":
            conditionals.pop(0)
        problems += [f"{where}: {line}" for where, line in conditionals]
    return problems


def list_is_complete(root, sources):
    there = {p.name for p in (root / "core").glob("*.c")}
    return ([f"core/{name} is in no list" for name in sorted(there - set(sources))]
            + [f"sources.txt lists {name}, which is not there" for name in sources if name not in there]
            + [f"sources.txt lists {name} twice" for name in sorted(set(sources)) if sources.count(name) > 1])


def kbuild_objects(root):
    """What linux/Kbuild makes netmap.ko from, as make sees it."""
    with tempfile.NamedTemporaryFile("w", suffix=".mk") as makefile:
        makefile.write(f"src := {root}/linux\ninclude {root}/linux/Kbuild\nshow:\n\t@echo $(netmap-y)\n")
        makefile.flush()
        done = subprocess.run(["make", "-s", "-f", makefile.name, "show"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def kbuild_matches(root, sources):
    objects = kbuild_objects(root)
    wanted = {f"../core/{name[:-2]}.o" for name in sources}
    core = {o for o in objects if "core/" in o}
    return ([f"linux/Kbuild leaves out {o}" for o in sorted(wanted - core)]
            + [f"linux/Kbuild has {o}, which is not in sources.txt" for o in sorted(core - wanted)])


def meson_matches(root, build, sources):
    """The daemon links libcore.a: the files that it is compiled from."""
    commands = json.loads((build / "compile_commands.json").read_text())
    compiled = {}
    for command in commands:
        source = (Path(command["directory"]) / command["file"]).resolve()
        if source.parent == root / "core" and "libcore.a.p" in command.get("output", command["command"]):
            compiled[source.name] = compiled.get(source.name, 0) + 1
    wanted = set(sources)
    problems = ([f"core/meson.build leaves out {name}" for name in sorted(wanted - set(compiled))]
                + [f"core/meson.build has {name}" for name in sorted(set(compiled) - wanted)])
    for path in platform_sources(root):
        if re.search(r'#\s*include\s*"[^"]*\.c"', without_comments(path.read_text())):
            problems.append(f"{path.relative_to(root)} includes a .c file")
    return problems


def copies(root):
    core = {}
    for path in sorted((root / "core").glob("*.[ch]")):
        for name, (external, body) in functions(path).items():
            core.setdefault(name, []).append((path.name, external, body))
    bodies = {body: (where, name) for name, places in core.items() for where, _, body in places}
    assert len(core) > 100, "the parser no longer understands core/"
    problems = []
    for path in platform_sources(root):
        for name, (external, body) in functions(path).items():
            where = f"{path.relative_to(root)}: {name}()"
            if PLATFORM_FUNCTION.match(name):
                continue
            if external and any(also for _, also, _ in core.get(name, [])):
                problems.append(f"{where} is a function of core/{core[name][0][0]}")
            if len(body) >= COPY_LENGTH and body in bodies:
                problems.append(f"{where} is {bodies[body][1]}() of core/{bodies[body][0]} again")
    return problems


def symbols(path, members=None):
    """Defined functions of an object, a program, or of these members of an archive."""
    done = subprocess.run(["nm", "--defined-only", str(path)], capture_output=True, text=True, check=True)
    found, member = set(), None
    for line in done.stdout.splitlines():
        if line.endswith(":"):
            member = Path(line[:-1]).name  # the whole path in a thin archive
        fields = line.split()
        if len(fields) == 3 and fields[1] == "T" and (members is None or member in members):
            found.add(fields[2])
    return found


def newest(root, pattern):
    return max(p.stat().st_mtime for p in root.glob(pattern))


def modules(root, build, given):
    if given:
        return [Path(p) for p in given]
    found = set()
    for directory in {build / "module", root / "build" / "module"}:
        found |= {p.resolve() for p in directory.glob("*/netmap.ko")}
    return sorted(found)


def main():
    root, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    sources = (root / "core/sources.txt").read_text().split()
    tap = Tap()
    tap.result("core knows nothing of its platform", forbidden_in_core(root))
    tap.result("sources.txt lists core", list_is_complete(root, sources))
    tap.result("Kbuild compiles what it lists", kbuild_matches(root, sources))
    tap.result("Meson compiles what it lists", meson_matches(root, build, sources))
    tap.result("no function of core is written again", copies(root))

    archive, daemon = build / "core/libcore.a", build / "netmapd/netmapd"
    wanted = symbols(archive, {f"{name}.o" for name in sources})
    problems = [] if len(wanted) > 40 else [f"{archive} has only {len(wanted)} functions of core"]
    if not daemon.exists():
        tap.result("netmapd is made of core", problems, None if problems else "netmapd is not built")
    else:
        elsewhere = symbols(archive, {f"{name}.o" for name in NOT_IN_DAEMON})
        problems += [f"{name}() is not in netmapd" for name in sorted(wanted - elsewhere - symbols(daemon))]
        tap.result("netmapd is made of core", problems)

    given = sys.argv[3:]
    found = modules(root, build, given)
    if not found:
        tap.result("netmap.ko is made of core", [], "there is no netmap.ko: make module")
    for module in found:
        name = f"netmap.ko of {module.parent.name} is made of core"
        if not given and module.stat().st_mtime < newest(root, "core/*.[ch]"):
            tap.result(name, [], "it is older than core/: make module")
            continue
        there = symbols(module)
        tap.result(name, [f"{f}() is not in it" for f in sorted(wanted - there)])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
