"""Checks HDF5 files before a library reads them: no data outside the file, no sizes larger than the file can hold.

Sources: CVE-2025-9905 (legacy H5), HDF5's external links, external storage and virtual datasets, each of which names other files.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.sandbox import allocation

MAGIC = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 60
# HDF5's filters reach ratios of about a thousand on zeros; weights reach two. A dataset never written takes no bytes at all.
_MAX_RATIO = 1100
_SMALL_BYTES = 2**28
_MAX_OBJECTS = 1_000_000
_MEMORY_PER_BYTE = 8  # times the file's size, for objects of variable length: their bytes, HDF5's buffers, Python's text


def unsafe(path: str, what: str) -> ModelError:
    """A LOAD_UNSAFE error that no trust setting can allow."""
    return ModelError(
        ReasonCode.LOAD_UNSAFE,
        Stage.LOAD,
        f"{path}: {what}; nothing of it was loaded. Save the model again from a source you trust",
    )


def refuse_ambiguous(path: str, stream: IO[bytes], size: int) -> None:
    """Raises unless the whole file, from its first byte to its last, is HDF5 and nothing else.

    Args:
      path: how the file is named in errors.
      stream: the file's bytes, seekable.
      size: how many there are.

    Raises:
      ModelError: LOAD_UNSAFE for bytes before the file (HDF5 allows a "user block"), for bytes behind its end, for a base address
        or a driver that spreads it over other files, and for a file that is a zip archive as well.
      OSError: for a file that is cut off, or none.
    """
    stream.seek(0)
    head = stream.read(_SUPERBLOCK_BYTES)
    if not head.startswith(MAGIC):
        for start in (512 << shift for shift in range(14)):
            stream.seek(start)
            if stream.read(len(MAGIC)) == MAGIC:
                raise unsafe(path, f"there are {start:,} bytes before the HDF5 file, which another reader may take for the file")
        raise OSError("its first bytes are not HDF5's")
    base, end, is_spread = _addresses(head)
    if base != 0 or is_spread:
        raise unsafe(path, "its HDF5 header says that its data lies elsewhere, by a base address or a driver of several files")
    if end > size:
        raise OSError(f"it has {size:,} bytes, and its header gives {end:,}")
    if end < size:
        raise unsafe(
            path, f"there are {size - end:,} bytes behind the end of the HDF5 file, which another reader may take for the file"
        )
    if zipfile.is_zipfile(stream):
        raise unsafe(path, "it is an HDF5 file and a zip archive at once")


def _addresses(head: bytes) -> tuple[int, int, bool]:
    """Base address, end of the file and whether a driver spreads it, from the superblock: HDF5's specification, II.A."""
    if len(head) < _SUPERBLOCK_BYTES:
        raise OSError(f"its first {len(head)} bytes are all there is of it")
    version = head[8]
    if version not in (0, 1, 2, 3):
        raise OSError(f"its superblock has version {version}")
    width = head[13] if version < 2 else head[9]
    if width not in (4, 8):
        raise OSError(f"its addresses have {width} bytes")
    start = {0: 24, 1: 28}.get(version, 12)
    base, _, end, last = (int.from_bytes(head[start + n * width : start + (n + 1) * width], "little") for n in range(4))
    return base, end, version < 2 and last != 2 ** (8 * width) - 1


def refuse_unsafe(path: str, file: Any, *, stored_bytes: int) -> list[tuple[int, int]] | None:
    """Raises unless an open HDF5 file refers to nothing outside itself.

    Returns:
      Where its arrays lie, (start, size) each; None where some lie in several pieces.

    Args:
      path: how the file is named in errors.
      file: an open `h5py.File`.
      stored_bytes: the size of the file.

    Raises:
      ModelError: LOAD_UNSAFE for links and data in other files, for impossible sizes, and for endless files.
      OSError: for objects that take more memory than a file of this size can justify: for links and texts alike, HDF5 allocates
        the lengths that damaged bytes claim before it checks them against the file.
    """
    try:
        with allocation.at_most(_SMALL_BYTES + _MEMORY_PER_BYTE * stored_bytes):
            return _look_over(path, file, stored_bytes)
    except MemoryError as error:
        raise OSError("looking over it takes more memory than a file of this size can be worth") from error


def _look_over(path: str, file: Any, stored_bytes: int) -> list[tuple[int, int]] | None:
    from h5py import h5d

    claimed, data, is_in_pieces = 0, [], False
    _try_attributes("/", file.id)
    for name, item in _items(path, file):
        if isinstance(item, str):
            raise unsafe(path, f"{name} is a link to another file ({item})")
        _try_attributes(name, item)
        if not isinstance(item, h5d.DatasetID):
            continue
        how = item.get_create_plist()
        if how.get_external_count():
            raise unsafe(path, f"the data of {name} lies in another file ({_text(how.get_external(0)[0])})")
        if how.get_layout() == h5d.VIRTUAL:
            raise unsafe(path, f"{name} is a virtual dataset, whose data lies in other files")
        claimed += math.prod(item.shape or ()) * item.get_type().get_size()
        if claimed > _SMALL_BYTES and claimed > _MAX_RATIO * stored_bytes:
            raise unsafe(path, f"{name} brings its arrays to {claimed:,} bytes, in a file of {stored_bytes:,}")
        _try_lengths(name, item)
        if how.get_layout() == h5d.CONTIGUOUS and item.get_offset() is not None:
            data.append((int(item.get_offset()), int(item.get_storage_size())))
        is_in_pieces = is_in_pieces or how.get_layout() == h5d.CHUNKED
    return None if is_in_pieces else data


def _try_attributes(name: str, item: Any) -> None:
    from h5py import h5a

    for number in range(h5a.get_num_attrs(item)):
        attribute = h5a.open(item, index=number)
        _try_lengths(f"the attribute {_text(attribute.name)} of {name}", attribute)


def _try_lengths(name: str, stored: Any) -> None:
    """Reads objects of variable length, mostly texts. Raises OSError if one is damaged or claims more memory than allowed."""
    import numpy as np
    from h5py import h5a, h5s

    if not _has_own_lengths(stored.get_type()):
        return
    try:
        values = np.empty(stored.shape or (), stored.dtype)
        stored.read(values) if isinstance(stored, h5a.AttrID) else stored.read(h5s.ALL, h5s.ALL, values)
    except TypeError:
        return  # h5py has no values for this type, and no loader here reads it
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise OSError(f"{name} cannot be read: {error or type(error).__name__}") from error


def _has_own_lengths(kind: Any) -> bool:
    from h5py import h5t

    if isinstance(kind, h5t.TypeStringID):
        return bool(kind.is_variable_str())
    is_made_of_others = isinstance(kind, (h5t.TypeCompoundID, h5t.TypeArrayID))
    return kind.detect_class(h5t.VLEN) or (is_made_of_others and kind.detect_class(h5t.STRING))


def _items(path: str, file: Any) -> Iterator[tuple[str, Any]]:
    """Every external link, as the name of its file, and every object once, as h5py's low-level identifier: its high-level objects
    take ten times as long to make. Iterative, and by address: groups may contain each other.
    """
    from h5py import h5g, h5l, h5o

    pending = [("", file.id)]
    seen: set[int] = set()
    while pending:
        prefix, group = pending.pop()
        for key, kind, address in _links(group):
            name = f"{prefix}/{_text(key)}"
            if kind == h5l.TYPE_EXTERNAL:
                yield name, _text(group.links.get_val(key)[0])
            if kind == h5l.TYPE_SOFT:  # no Keras writes one; readers that follow it see one array under two names
                raise unsafe(path, f"{name} is a soft link to {_text(group.links.get_val(key))}, which Keras never writes")
            if kind != h5l.TYPE_HARD:
                raise unsafe(path, f"{name} is a link of a kind that HDF5 does not define")
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise unsafe(path, f"it holds more than {_MAX_OBJECTS:,} objects")
            item = h5o.open(group, key)
            yield name, item
            if isinstance(item, h5g.GroupID):
                pending.append((name, item))


def _links(group: Any) -> list[tuple[bytes, int, int]]:
    """Key and kind of each link in a group, and for a hard link the address of its object, which tells objects apart without
    opening them.
    """
    found: list[tuple[bytes, int, int]] = []
    group.links.iterate(lambda key, about: found.append((key, about.type, about.u)), info=True)
    return found


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
