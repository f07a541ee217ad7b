"""Confines a child by kernel mechanisms. It may write below its own folders; it may read there, in Python's environment, in the
system's libraries and the files of its work; it has no network, and cannot send signals to other processes.

This uses Landlock (Linux 5.13 and later) and a network namespace. Neither needs privileges. Both can only be narrowed further,
and also apply to every process that the child starts. Where the kernel or a container forbids one, the child runs without it:
confinement is a second line of defence; the scans are the first.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Sequence

from liteferry.sandbox.readable import machine_paths

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
_READS = _READ_FILE | _READ_DIRECTORY
_OF_A_FILE = _WRITE_FILE | _READ_FILE | _TRUNCATE  # the rights that a file can have; a rule on one must name no other
# Landlock ABI version -> rights to change something below a folder that it introduced. Executing a file counts as reading.
_CHANGES = {
    # write, remove directory and file, make character device, directory, file, socket, fifo, block device and link
    1: sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12)),
    2: 1 << 13,  # move from one folder to another
    3: _TRUNCATE,
    5: 1 << 15,  # ioctl on devices
}
_TCP_SINCE, _TCP = 4, 0b11  # bind, connect
_SCOPES_SINCE, _SCOPES = 6, 0b11  # no abstract Unix sockets and no signals to processes outside
# Writing the last one restarts the count of the process's own peak memory.
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/proc/self/clear_refs")

# The tests repeat hostile cases without confinement, since other kernels have none: this shows what the scans let through. The
# variable names a marker file, which is part of this repository's tests and of no package. Variable and file are checked before
# anything of a checkpoint is read, in a process with the launcher's environment: a checkpoint that could set the variable or
# write the file would already have escaped.
SWITCH = "LITEFERRY_TESTS_UNCONFINED"
UNCONFINED = b"liteferry tests: processes that read strangers' files are not confined by the kernel\n"


def confine(writable: Sequence[str], *, readable: Sequence[str] = (), network: bool = False) -> tuple[str, ...]:
    """Confines this process and all that it starts, for good. It must have one thread.

    Args:
      writable: folders below which it may still read and write; folders that do not exist are left out.
      readable: files and folders that it may read besides those of `machine_paths`. "folder/." is the listing of a folder alone.
      network: whether it may still use the network.

    Returns:
      The confinements that hold now: of "files", "network" and "signals".
    """
    if not sys.platform.startswith("linux") or is_switched_off():
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    held = []
    abi = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    readable = [*machine_paths(network=network), *readable]
    if abi > 0 and _restrict(libc, abi, (writable, readable), network=network):
        held.append("files")
        if abi >= _SCOPES_SINCE:
            held.append("signals")
    if not network and (_leave_network(libc) or ("files" in held and abi >= _TCP_SINCE)):
        held.append("network")
    return tuple(held)


def is_switched_off() -> bool:
    """Whether the tests have switched the kernel's confinement off."""
    try:
        with open(os.environ[SWITCH], "rb") as file:
            return file.read(len(UNCONFINED) + 1) == UNCONFINED
    except (KeyError, OSError):
        return False


def _restrict(libc: ctypes.CDLL, abi: int, below: tuple[Sequence[str], Sequence[str]], *, network: bool) -> bool:
    writable, readable = below
    rights = sum(bits for since, bits in _CHANGES.items() if since <= abi)
    attributes = [rights | _READS]
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
            _allow(libc, ruleset, path, rights | _READS)
        for path in readable:
            _allow(libc, ruleset, path, _READ_DIRECTORY if path.endswith("/.") else _READS)
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
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Moves into an empty network namespace. Without a user namespace only root may; in one, the process keeps its own ids."""
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
            pass  # shown as "nobody", the process can still open the same files: its ids in the kernel have not changed
    return True
