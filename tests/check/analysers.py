# SPDX-License-Identifier: BSD-2-Clause
"""Static analysis: sparse on the module; gcc's analyser, clang-tidy and cppcheck on user space.

Tests are left out of the deeper ones: they forge what must never happen. The builds in build-check-*/ tell
how a source is compiled, and whether anything that it includes has changed: a source in which nothing was
found is looked at again when its object is newer than that.
"""

import json
import os
import shlex
from pathlib import Path

from compilers import built
from tree import CPUS, ROOT, Skip, check, each, is_product, lines_of, output, tool

# What gcc's analyser says of good code: the file, a part of the message, and why it is wrong. It depends
# on gcc's version, so an entry that no longer finds anything may stay.
NOT_SO = [
    ("core/region.c", "uninitialized value ‘pool[2]", "lay_out() sets all three pools"),
    ("core/checksum.c", "uninitialized value ‘*(long unsigned int *)&word’", "memcpy() sets it, inlined"),
    ("netmapd/closer.c", "leak of ‘q’", "a queue frees itself with its last descriptor"),
    ("netmapd/closer.c", "leak of ‘later’", "close_later() frees it, as a job of the slow thread"),
    ("netmapd/ctl_reply.c", "NULL ‘cmsg’", "msg_controllen has room for a header, so CMSG_FIRSTHDR() finds one"),
    ("proto/config.c", "leak of ‘<unknown>’", "the configuration owns its items until config_free()"),
    ("proto/config.c", "leak of ‘strdup(path)’", "the same with the names of its files"),
    ("tools/qemu-ptnet/text.c", "leak of ‘<unknown>’", "the vector owns the string until text_argv_free()"),
]
KERNEL = "6.12"     # sparse reads the headers of this line of guest kernels


@check("sparse")
def sparse():
    """What the kernel's annotations say: addresses of users and of devices, byte order, locks in balance."""
    tool("sparse")
    directory = ROOT / "build-check-sparse"
    status, printed = output(["setup/module", KERNEL, str(directory)], env=dict(os.environ, SPARSE="1"))
    printed = printed.replace(f"{directory}/src/linux/../", "").replace(f"{directory}/src/", "")
    return lines_of(status, printed, r": (error|warning): ")


def product_sources(compiler):
    """(source, command) of each product source, from the build of a compiler; a source that is compiled
    more than once, for several programs, stands here once."""
    if built(compiler):
        raise Skip(f"user space does not compile: make check TOOL={compiler}")
    database = ROOT / f"build-check-{compiler}" / "compile_commands.json"
    commands = {}
    for entry in json.loads(database.read_text()):
        name = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        if is_product(name):
            commands.setdefault(name, entry)
    return commands.items()


def each_changed(analyser, function, sources, *settings):
    """each(function, sources), without the sources in which nothing was found since they were compiled."""
    settings = [Path(__file__), *(ROOT / name for name in settings)]

    def findings(source):
        name, entry = source
        clean = Path(entry["directory"]) / f"{analyser}-clean" / name.replace("/", "-")
        before = [Path(entry["directory"]) / entry["output"], *settings]
        if clean.exists() and all(clean.stat().st_mtime > path.stat().st_mtime for path in before):
            return
        found = list(function(name, entry))
        yield from found
        if not found:
            clean.parent.mkdir(exist_ok=True)
            clean.touch()

    return each(findings, sources)


@check("analyzer")
def analyzer():
    """gcc -fanalyzer: memory used after it is freed, never freed, or never set, along all paths of a function."""
    def findings(_, entry):
        words = [w for w in shlex.split(entry["command"]) if w not in ("-MD", "-c", "-O2")]
        for option in ("-MQ", "-MF", "-o"):
            at = words.index(option)
            del words[at:at + 2]
        # At -O0 it sees the code as it is written.
        status, printed = output([*words, "-O0", "-S", "-o", "/dev/null", "-fanalyzer", "-fno-diagnostics-color",
                                  "-fdiagnostics-path-format=none"], cwd=entry["directory"])
        for line in lines_of(status, printed.replace("../", ""), r": (error|warning): "):
            if not any(line.startswith(file) and part in line for file, part, _ in NOT_SO):
                yield line

    return each_changed("analyzer", findings, product_sources("gcc"))


@check("clang-tidy")
def clang_tidy():
    """The families that .clang-tidy names, clang's own analyser among them."""
    def findings(name, entry):
        status, printed = output([tool("clang-tidy"), "-p", entry["directory"], "--quiet", str(ROOT / name)])
        printed = printed.replace(f"{entry['directory']}/../", "").replace("../", "").replace(f"{ROOT}/", "")
        return lines_of(status, printed, r": (error|warning): ")

    return each_changed("clang-tidy", findings, product_sources("clang"), ".clang-tidy")


# What cppcheck is not asked for, or is wrong about everywhere.
CPPCHECK_OFF = [
    "variableScope",        # declarations stand at the head of a function, where they are short
    "shadowFunction",       # a local variable may have the name of a function; -Wshadow looks at the rest
    "clarifyCalculation",   # a & b ? c : d is read by everybody here
    "unusedStructMember",   # it sees one source at a time
    "unreadVariable",       # it does not see uses behind the annotations of locks; clang does
    "unassignedVariable",   # it takes a static constant of zeros for forgotten
    "invalidFunctionArg",   # its description of mmap() forbids -1 as the descriptor of an anonymous mapping
    "getgrnamCalled", "getpwentCalled", "getpwnamCalled", "getpwuidCalled",  # asked before there are threads, if ever
    "varFuncNullUB",        # NULL is a pointer on Linux
    "usleepCalled",         # usleep() is obsolete in POSIX, not in Linux
    "readdirCalled",        # readdir() is safe with a DIR of one's own, readdir_r() obsolete
    "knownConditionTrueFalse",  # wrong wherever it spoke: it takes (uint16_t)~x for never 0
]


@check("cppcheck")
def cppcheck():
    """Faults along one path: indices, null pointers, leaks, conditions that are always true."""
    directory = ROOT / "build-check-clang"
    database = directory / "cppcheck.json"
    database.write_text(json.dumps([entry for _, entry in product_sources("clang")]))
    macros = ["-Djson_object_foreach(object,key,value)=while(json_next(object,&key,&value))",
              "-Djson_array_foreach(array,index,value)=while(json_next(array,&index,&value))"]
    status, printed = output(
        [tool("cppcheck"), f"-j{CPUS}", f"--project={database}", "--quiet", "--inline-suppr", "--error-exitcode=1",
         "--enable=warning,performance,portability,style", "--library=posix", *macros,
         "--template={file}:{line}: {severity}: {message} [{id}]", *[f"--suppress={name}" for name in CPPCHECK_OFF]])
    return lines_of(status, printed.replace(f"{ROOT}/", ""), r"^\S+:\d+: \w+: ")
