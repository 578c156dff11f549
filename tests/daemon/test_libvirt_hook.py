#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What libvirt's hook, which is root, does with a directory in which QEMU's user can put anything: nothing beyond it."""

import importlib.machinery
import importlib.util
import os
import pwd
import subprocess
import sys

import pytest

from ptnet_real import REPO, wait_until

USER = "nobody"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="acts as two users: as root only")


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("hook", str(REPO / "tools/libvirt/netmap-libvirt-hook"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("hook", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "USER", USER)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


@pytest.fixture
def process():
    """process(user, argument…): one that waits until it is ended."""
    running = []

    def start(user, *args, first="pass"):
        script = f"import signal, sys; {first}; print(flush=True); sys.stdin.read()"
        running.append(subprocess.Popen(
            [sys.executable, "-c", script, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user, cwd="/"))
        assert running[-1].stdout.readline() == b"\n"
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.wait()
        one.stdin.close()
        one.stdout.close()


def place_of(tmp_path):
    place = tmp_path / "web"
    place.mkdir()
    os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
    return place


@pytest.mark.parametrize("user,held,ends", [(USER, "web", True), (0, "web", False), (USER, "other", False)])
def test_whom_it_ends(hook, process, tmp_path, user, held, ends):
    """The owner of these ports; no process of root's that looks the same, and none with other ports."""
    place = place_of(tmp_path)
    owner = process(user, "--hold", tmp_path / held)
    (place / "pid").write_text(f"{owner.pid}\n")
    hook.let_go(place)
    assert not place.exists()
    if ends:
        wait_until(lambda: owner.poll() is not None, "the owner has ended")
    else:
        assert owner.poll() is None


def test_what_lies_in_the_directory(hook, process, tmp_path):
    """A link to another file, a pipe that nobody writes to, a directory, nonsense: read by nobody, and gone."""
    owner = process(USER, "--hold", tmp_path / "web")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "pid").write_text(f"{owner.pid}\n")
    makers = (
        lambda path: path.symlink_to(outside / "pid"), os.mkfifo, os.mkdir, lambda path: path.write_text("x" * 100),
        lambda path: path.write_text("-1"), lambda path: path.write_text("9" * 31),
    )
    for make in makers:
        place = place_of(tmp_path)
        make(place / "pid")
        (place / "more").mkdir()
        (place / "more/link").symlink_to(outside)
        hook.let_go(place)
        assert not place.exists() and (outside / "pid").exists() and owner.poll() is None


def test_it_changes_while_it_is_removed(hook, tmp_path, monkeypatch):
    """Something has gone between a look and the removal, something else has come."""
    place, unlink, removed = place_of(tmp_path), os.unlink, []
    for name in "net0", "net1", "mem0":
        (place / name).symlink_to("/nowhere")

    def too_late(path, **kwargs):
        unlink(path, **kwargs)
        removed.append(path)
        if len(removed) == 1:
            raise FileNotFoundError(path)
        if len(removed) == 2:
            (place / "late").touch()

    monkeypatch.setattr(hook.os, "unlink", too_late)
    hook.let_go(place)
    assert not place.exists() and len(removed) == 4


def test_one_who_does_not_end(hook, process, tmp_path, monkeypatch):
    """An owner that takes no notice of SIGTERM is killed, before the directory goes."""
    place = place_of(tmp_path)
    owner = process(USER, "--hold", place, first="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    (place / "pid").write_text(f"{owner.pid}\n")
    monkeypatch.setattr(hook, "PATIENCE", 0.2)
    hook.let_go(place)
    assert not place.exists()
    wait_until(lambda: owner.poll() is not None, "the owner has ended")
