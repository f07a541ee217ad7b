"""Zip and tar archives, and the arrays of an .npz: members renamed, linked, swollen, packed otherwise, their contents changed."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable

from tests.campaigns.fuzz import hdf5, raw, values

_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_SWOLLEN_BYTES = 2**20
_BOMB_BYTES = 3 * 2**28  # stored in some hundred bytes by bzip2: only what is unpacked whole costs anything


def members_of(content: bytes) -> list[tuple[zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(entry, archive.read(entry)) for entry in archive.infolist()]


def zipped(rng: random.Random, content: bytes) -> bytes:
    """A zip archive with its members or its directory changed."""
    kind = rng.random()
    if kind < 0.2:
        return raw.damage(rng, content)
    if kind < 0.35:
        return raw.damage_near(rng, content, (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    try:
        members = members_of(content)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error):
        return raw.damage(rng, content)  # it was changed before
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change_members(rng, members)
    written = _write(rng, members)
    return raw.damage_near(rng, written, (b"PK\x01\x02", b"PK\x05\x06")) if rng.random() < 0.1 else written


def _change_members(rng: random.Random, members: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    if not members:
        return
    at = rng.randrange(len(members))
    entry, content = members[at]
    kind = rng.random()
    if kind < 0.62:
        members[at] = (entry, change_content(rng, entry.filename, content))
    elif kind < 0.72:
        members[at] = (_renamed(entry, raw.text(rng) or "x"), content)
    elif kind < 0.78:
        members.append(
            (_renamed(entry, rng.choice(("../../canary/escaped", "/tmp/canary-escaped", "a\\..\\b", "C:/x", "a" * 300))), b"x")
        )
    elif kind < 0.82:
        link = _renamed(entry, rng.choice((entry.filename, "link")))
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        members.append((link, b"../../canary/kept"))
    elif kind < 0.86:
        del members[at]
    elif kind < 0.9:
        members.append((entry, content))
    elif kind < 0.94:
        members[at] = (entry, b"\0" * _SWOLLEN_BYTES * rng.choice((1, 4)))
    else:
        entry.compress_type = rng.choice(_PACKINGS)
        entry.flag_bits = rng.choice((0, 1, 0x800, 0x40))


def _renamed(entry: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name.encode("utf-8", "replace").decode().replace("\0", "?"))
    made.compress_type, made.external_attr = entry.compress_type, entry.external_attr
    return made


def _write(rng: random.Random, members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    packing = rng.choice((None, None, None, *_PACKINGS))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for entry, content in members:
            archive.writestr(_renamed(entry, entry.filename), content, packing if packing is not None else entry.compress_type)
        if rng.random() < 0.05:
            archive.comment = b"x" * 60_000
    return out.getvalue()


def bzip2_bomb(name: str, members: dict[str, bytes], size: int = _BOMB_BYTES) -> bytes:
    """An archive in which one member takes hundreds of megabytes as soon as any of it is unpacked."""
    import bz2

    packer, packed = bz2.BZ2Compressor(), bytearray()
    for _ in range(size // 2**20):
        packed += packer.compress(bytes(2**20))
    packed += packer.flush()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for other, content in members.items():
            archive.writestr(other, content)
        entry = zipfile.ZipInfo(name)
        archive.writestr(entry, bytes(packed))
    made = bytearray(out.getvalue())
    for mark, method, length in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        at = max(place for place in raw._finds(bytes(made), mark))
        made[at + method : at + method + 2] = zipfile.ZIP_BZIP2.to_bytes(2, "little")
        made[at + length : at + length + 4] = (1000).to_bytes(4, "little")
    return bytes(made)


_BY_ENDING: dict[str, Callable[[random.Random, bytes], bytes]] = {}


def change_content(rng: random.Random, name: str, content: bytes) -> bytes:
    """A file's bytes changed in the way of its kind."""
    if name.endswith(".json"):
        return values.json_text(rng, content)
    if name.endswith((".h5", ".hdf5")):
        return hdf5.changed(rng, content)
    if name.endswith(".npy"):
        return npy(rng, content)
    if name.endswith((".keras", ".zip", ".npz")):
        return zipped(rng, content)
    return raw.damage(rng, content)


_SHAPES = (
    "()",
    "(0,)",
    "(3,)",
    "(-1,)",
    "(2**60,)",
    f"({2**60},)",
    f"({2**31}, {2**31}, 4)",
    "(3, 4)",
    "('a',)",
    "(3.0,)",
    "[3]",
    "(True,)",
    "None",
)
_DTYPES = (
    "'<f4'",
    "'|O'",
    "'<U9999'",
    "'|S0'",
    "'|V8'",
    "'<M8[s]'",
    "'>i8'",
    "'<f2'",
    "'|b1'",
    "'<c16'",
    "[('a', '<f4')]",
    "'x'",
    "7",
    "''",
    "'<f4,<f4'",
    "'<U0'",
)


def npy(rng: random.Random, content: bytes) -> bytes:
    """An array whose header claims something else."""
    if rng.random() < 0.3:
        return raw.damage(rng, content)
    end = content.find(b"\n") + 1
    body = content[end:]
    shape, dtype = rng.choice(_SHAPES), rng.choice(_DTYPES)
    header = f"{{'descr': {dtype}, 'fortran_order': {rng.choice(('True', 'False', '0'))}, 'shape': {shape}, }}"
    if rng.random() < 0.15:
        header = rng.choice(
            ("", "{", "__import__('os')", "[" * 500, "{'descr': 1}", "1" * 20_000, "{'a'" + " " * 9000, header * 2)
        )
    text = header.encode() + b"\n"
    version = rng.choice(((1, 0), (1, 0), (2, 0), (3, 0), (4, 0)))
    size = len(text) if rng.random() < 0.9 else raw.integer(rng)
    width = 2 if version == (1, 0) else 4
    claimed = (size & (1 << 8 * width) - 1).to_bytes(width, "little")
    return b"\x93NUMPY" + bytes(version) + claimed + text + body


def tarred(rng: random.Random, content: bytes) -> bytes:
    """A tar.gz with a member renamed, linked or claiming to be large, or the file itself damaged."""
    if rng.random() < 0.3:
        return raw.damage(rng, content)
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as source:
        members = [(entry, source.extractfile(entry)) for entry in source]
        contents = [(entry, stream.read() if stream else b"") for entry, stream in members]
    with tarfile.open(fileobj=out, mode="w") as target:
        for entry, inside in contents:
            kind = rng.random()
            if kind < 0.2:
                entry.name = (raw.text(rng) or "x").encode("utf-8", "replace").decode().replace("\0", "?")
            elif kind < 0.3:
                entry.type, entry.linkname = (
                    rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)),
                    "../../canary/kept",
                )
            elif kind < 0.6:
                inside = change_content(rng, entry.name, inside)
            entry.size = len(inside) if entry.isreg() else 0
            target.addfile(entry, io.BytesIO(inside))
    plain = out.getvalue()
    if rng.random() < 0.4:
        plain = raw.damage(rng, plain)
    return gzip.compress(plain, 1) if rng.random() < 0.8 else plain
