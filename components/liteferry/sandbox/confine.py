"""What a child may touch, held by the kernel: it writes below its own folders, has no network, and signals nobody outside.

Landlock (Linux 5.13 and later) and a network namespace of its own. Both need no privilege, can only be narrowed further, and bind
whatever the process starts. Where the kernel or a container forbids one, the child does without it: a confinement is a second
wall behind the process boundary, not the first.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
# ABI version -> the rights to change something below a folder that came with it. Reading and executing stay free.
_CHANGES = {
    # write, remove directory and file, make character device, directory, file, socket, fifo, block device and link
    1: sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12)),
    2: 1 << 13,  # move from one folder to another
    3: _TRUNCATE,
    5: 1 << 15,  # ioctl on devices
}
_TCP_SINCE, _TCP = 4, 0b11  # bind, connect
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets, signals: nobody outside
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def confine(writable: Sequence[str], *, network: bool = False) -> tuple[str, ...]:
    """Confines this process and all it starts, for good. It must have one thread.

    Args:
      writable: folders below which it may still write; those that are not there are left out.
      network: whether it may still reach the network.

    Returns:
      What holds now: of "files", "network" and "signals".
    """
    if not sys.platform.startswith("linux"):
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    held = []
    abi = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if abi > 0 and _restrict(libc, abi, writable, network=network):
        held.append("files")
        if abi >= _SCOPES_SINCE:
            held.append("signals")
    if not network and (_leave_network(libc) or ("files" in held and abi >= _TCP_SINCE)):
        held.append("network")
    return tuple(held)


def _restrict(libc: ctypes.CDLL, abi: int, writable: Sequence[str], *, network: bool) -> bool:
    rights = sum(bits for since, bits in _CHANGES.items() if since <= abi)
    attributes = [rights]
    if abi >= _TCP_SINCE:
        attributes.append(0 if network else _TCP)
    if abi >= _SCOPES_SINCE:
        attributes.append(_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = libc.syscall(_CREATE_RULESET, packed, len(packed), 0)
    if ruleset < 0:
        return False
    try:
        for path in writable:
            _allow(libc, ruleset, path, rights)
        for path in _DEVICES:
            _allow(libc, ruleset, path, rights & (_WRITE_FILE | _TRUNCATE))
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Into a network namespace that has nothing in it. Only root may without a user namespace, in which it keeps its own ids."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            pass  # an id shown as "nobody" opens the same files: the kernel's own ids have not changed
    return True
