"""Commands that want the machine itself: more of its processes, memory and disk than their share."""

from __future__ import annotations

import subprocess

from centaur_server import end_processes_of
from hostile import HARNESSES, attack, failed_attack, guarded, neighbour, new_session, running, works


@HARNESSES
def test_a_fork_bomb(directory, provider, harness):
    """So many processes, and no more: the turn fails, and everything goes on."""
    with running(guarded(directory / "server", provider, processes=300)) as server:
        key = new_session(server, harness)
        with neighbour(server):
            bomb = "i=0; while [ $i -lt 600 ]; do sleep 300 & i=$((i+1)); done; wait"
            assert failed_attack(server, key, bomb) == "sandbox_processes"
            works(server, key)


@HARNESSES
def test_a_memory_hog(directory, provider, harness):
    """More memory than it may have: the turn fails, and everything goes on."""
    with running(guarded(directory / "server", provider, memory="1GiB")) as server:
        key = new_session(server, harness)
        with neighbour(server):
            hog = "python3 -c 'import time; s = [b\"x\" * (64 << 20) for _ in range(32)]; time.sleep(300)'"
            assert failed_attack(server, key, hog) == "sandbox_memory"
            works(server, key)


@HARNESSES
def test_a_disk_filler(directory, provider, harness):
    """More on the disk than it may have: the turn fails, and everything goes on."""
    small = directory / "server"
    small.mkdir()
    # Whatever the guard does, no more than this is filled.
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(small)], capture_output=True).returncode == 0
    try:
        with running(guarded(small, provider, workspace="128MiB")) as server, neighbour(server):
            key = new_session(server, harness)
            filler = "for i in $(seq 30); do dd if=/dev/zero of=f$i bs=1M count=16 2>/dev/null; sleep 0.1; done; sleep 300"
            assert failed_attack(server, key, filler) == "sandbox_disk"
            works(server, key)
            # It may make room, and is then as before.
            attack(server, key, "find . -name 'f*' -delete; echo made room")
            works(server, key)
    finally:
        end_processes_of(small)
        if mounted:
            subprocess.run(["umount", "-l", str(small)], check=True)
