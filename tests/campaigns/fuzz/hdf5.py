"""HDF5 files: their bytes damaged where structures begin, and what the library itself can write that no saver would."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

from tests.campaigns.fuzz import raw, values

# Signatures of HDF5's structures, and of version 1 object headers, which have none but begin so.
_MARKS = (
    b"\x89HDF",
    b"OHDR",
    b"OCHK",
    b"TREE",
    b"HEAP",
    b"SNOD",
    b"GCOL",
    b"FRHP",
    b"FHDB",
    b"BTHD",
    b"\x01\x00",
    b"\x10\x00\x10\x00",
)


def changed(rng: random.Random, content: bytes) -> bytes:
    kind = rng.random()
    if kind < 0.25:
        return raw.damage(rng, content)
    if kind < 0.6:
        return raw.damage_near(rng, content, _MARKS)
    written = _rewritten(rng, content)
    return raw.damage_near(rng, written, _MARKS) if rng.random() < 0.15 else written


def _rewritten(rng: random.Random, content: bytes) -> bytes:
    import h5py

    buffer = io.BytesIO(content)
    try:
        with h5py.File(buffer, "r+") as file:
            for _ in range(rng.choice((1, 1, 2))):
                rng.choice(_CHANGES)(rng, file, _groups(file))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, OverflowError, UnicodeError):
        return raw.damage(rng, content)  # what the library refuses to write it need not be asked to read
    return buffer.getvalue()


def _groups(file: Any) -> list[Any]:
    import h5py

    found = [file]
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


def _name(rng: random.Random) -> str:
    name = raw.text(rng).replace("\0", "").encode("utf-8", "replace").decode().strip("/")
    return name if name.strip("./") else "x"


def _attribute(rng: random.Random, _: Any, groups: list[Any]) -> None:
    import numpy as np

    group = rng.choice(groups)
    keys = [*group.attrs, "model_config", "keras_version", "layer_names", "weight_names", "backend"]
    key = rng.choice(keys)
    found = group.attrs.get(key)
    if key == "model_config" and isinstance(found, (str, bytes)) and rng.random() < 0.8:
        text = found.encode() if isinstance(found, str) else found
        group.attrs[key] = values.json_text(rng, text).decode("utf-8", "replace").replace("\0", "?")
        return
    if key in group.attrs:
        del group.attrs[key]
    kind = rng.randrange(7)
    if kind < 2:
        group.attrs[key] = _name(rng)
    elif kind == 2:
        group.attrs[key] = np.bytes_(rng.randbytes(20))
    elif kind == 3:
        group.attrs[key] = np.zeros(rng.choice((0, 1, 7000)), rng.choice(("f4", "i8", "S3", "?")))
    elif kind == 4:
        import h5py

        group.attrs[key] = h5py.Empty("f4")
    elif kind == 5:
        group.attrs[key] = group.ref


def _link(rng: random.Random, file: Any, groups: list[Any]) -> None:
    import h5py

    group, name = rng.choice(groups), _name(rng)
    if name in group:
        del group[name]
    kind = rng.randrange(5)
    if kind == 0:
        group[name] = h5py.ExternalLink(rng.choice(("/etc/hostname", "../../canary/kept", "")), "/x")
    elif kind == 1:
        group[name] = h5py.SoftLink(rng.choice(("/", name, "/nowhere", "../..")))
    elif kind == 2:
        group[name] = rng.choice(groups)  # a loop, most likely
    elif kind == 3:
        group.create_group(name)
    else:
        inner = group
        for _ in range(rng.choice((5, 60, 400))):
            inner = inner.create_group("g")


def _dataset(rng: random.Random, _: Any, groups: list[Any]) -> None:
    import h5py
    import numpy as np

    group, name = rng.choice(groups), _name(rng)
    if name in group:
        del group[name]
    kind = rng.randrange(10)
    if kind == 0:
        group.create_dataset(name, (2**40,), "f4", chunks=(2**20,))
    elif kind == 1:
        group.create_dataset(name, (4,), "u1", external=[(rng.choice(("/etc/hostname", "../../canary/kept")), 0, 4)])
    elif kind == 2:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource("/etc/hostname", "secret", (4,))
        group.create_virtual_dataset(name, layout)
    elif kind == 3:
        group.create_dataset(name, data=np.zeros(3, [("a", "f4"), ("b", "S3", (2,))]))
    elif kind == 4:
        group.create_dataset(name, (2,), h5py.vlen_dtype(np.int32))
    elif kind == 5:
        group[name] = h5py.Empty("f4")
    elif kind == 6:
        group[name] = np.dtype("f8")
    elif kind == 7:
        group.create_dataset(name, data=[group.ref], dtype=h5py.ref_dtype)
    elif kind == 8:
        group.create_dataset(name, (0, 3), "f4", maxshape=(None, 3))
    else:
        group.create_dataset(name, (2**12, 2**12), "f4", compression="gzip", chunks=(2**9, 2**9))


def _remove(rng: random.Random, _: Any, groups: list[Any]) -> None:
    group = rng.choice(groups)
    names = list(group)
    if names:
        del group[rng.choice(names)]


_CHANGES: tuple[Callable[[random.Random, Any, list[Any]], None], ...] = (
    _attribute,
    _attribute,
    _attribute,
    _link,
    _dataset,
    _remove,
)
