"""Hostile files by name, each with the answer that it must get. Made when they are read; read in the fuzzer's worker, which
watches memory, time and what is touched.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from tests.campaigns.fuzz import protos, records
from tests.campaigns.fuzz.inputs import Files, Input, Link, seed_files


class Case(NamedTuple):
    kind: str
    make: Callable[[], Input]
    answer: str


def _file(name: str, content: bytes) -> Input:
    return Input(entry=name, files={name: content})


def _zip(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _npy(shape: str, body: bytes) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def _claiming(content: bytes, size: int) -> bytes:
    """A zip file whose last member says that it unpacks to so many bytes."""
    made = bytearray(content)
    at = made.rfind(b"PK\x01\x02")
    made[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(made)


def _saved_model(**changes: bytes | Link) -> Input:
    top = "saved_model"
    files = {name: content for name, content in seed_files("saved_model").items() if name.startswith(f"{top}/")}
    made: dict[str, bytes | Link] = {**files, **{f"{top}/{name}": content for name, content in changes.items()}}
    return Input(entry=top, files=made)


def _with_asset(name: str) -> Input:
    """`asset_file_def` is field 6 of a meta graph, which is field 2 of a SavedModel; its `filename` is field 2."""
    graph = seed_files("saved_model")["saved_model/saved_model.pb"]
    message = protos.fields(graph)
    assert message is not None
    at = next(place for place, field in enumerate(message) if field.number == 2)
    inner = message[at].value
    assert isinstance(inner, bytes)
    asset = protos.encode([protos.Field(6, 2, protos.encode([protos.Field(2, 2, name.encode())]))])
    message[at] = protos.Field(2, 2, inner + asset)
    return _saved_model(**{"saved_model.pb": protos.encode(message)})


def _tf_checkpoint(state: str, **more: bytes | Link) -> Input:
    files: Files = {
        "model/checkpoint": f'model_checkpoint_path: "{state}"\n'.encode(),
        "model/training.index": seed_files("tf_checkpoint")["training.index"],
        **{f"model/{name}": content for name, content in more.items()},
    }
    return Input(entry="model", files=files)


def _image(width: int, height: int) -> Input:
    return _file("picture.png", records.image_of_size(width, height))


def _picture_with_text(size: int) -> Input:
    """A compressed comment, which decoders unpack."""
    import zlib

    chunks = records.png_chunks(seed_files("image")["picture.png"])
    chunks.insert(1, (b"zTXt", b"a\0\0" + zlib.compress(bytes(size), 9)))
    return _file("picture.png", records.png_of(chunks))


def _job_naming(name: str) -> Input:
    text = f'models:\n  - checkpoints: "{name}"\n    samples: rows\nsamples: {{rows: {{path: rows.npz}}}}\n'
    files: Files = {"job.yaml": text.encode(), "rows.npz": b"", "a.keras": b""}
    return Input(entry="job.yaml", files=files)


TABLE: dict[str, Case] = {
    # Bombs
    "a record that claims exabytes": Case(
        "samples", lambda: _file("r.tfrecord", records.frame(b"x", length=2**62)), "SAMPLES_MISMATCH"
    ),
    "a packed record that claims a gigabyte": Case(
        "samples",
        lambda: _file("r.tfrecord.gz", gzip.compress(records.frame(bytes(2**20), length=2**30), 1, mtime=0)),
        "SAMPLES_MISMATCH",
    ),
    "gzip inside gzip": Case(
        "samples",
        lambda: _file("r.tfrecord.gz", gzip.compress(gzip.compress(bytes(2**24), 9, mtime=0), 9, mtime=0)),
        "SAMPLES_MISMATCH",
    ),
    "an array that claims a gigabyte": Case(
        "samples", lambda: _file("r.npz", _zip({"x.npy": _npy("(268435456,)", bytes(8))})), "SAMPLES_MISMATCH"
    ),
    "an array of more dimensions than bytes": Case(
        "samples", lambda: _file("r.npz", _zip({"x.npy": _npy(f"({'9, ' * 40})", b"")})), "SAMPLES_MISMATCH"
    ),
    "a member that claims four gigabytes": Case(
        "samples", lambda: _file("r.npz", _claiming(_zip({"x.npy": _npy("(4,)", bytes(16))}), 2**32 - 2)), "SAMPLES_MISMATCH"
    ),
    "an array packed by bzip2": Case(
        "samples", lambda: _file("r.npz", _zip({"x.npy": _npy("(4,)", bytes(16))}, zipfile.ZIP_BZIP2)), "SAMPLES_MISMATCH"
    ),
    "a picture of 81 million pixels": Case("image", lambda: _image(9000, 9000), "SAMPLES_MISMATCH"),
    "a picture of 25 million pixels in kilobytes": Case("image", lambda: _image(5000, 5000), "SAMPLES_MISMATCH"),
    "a picture one pixel high": Case("image", lambda: _image(2**17, 1), "image"),
    "a picture with a comment of 60 MB": Case("image", lambda: _picture_with_text(60 * 2**20), "SAMPLES_MISMATCH"),
    # Places outside
    "an asset at an absolute path": Case("saved_model", lambda: _with_asset("/etc/hostname"), "findings"),
    "an asset above its folder": Case("saved_model", lambda: _with_asset("../../canary/kept"), "findings"),
    "an asset above its folder, as Windows writes it": Case(
        "saved_model", lambda: _with_asset("..\\..\\canary\\kept"), "findings"
    ),
    "an asset of a strange name": Case("saved_model", lambda: _with_asset("a\x1b[31m<b>\n.txt"), "facts"),
    "variables that are a link to elsewhere": Case(
        "saved_model", lambda: _saved_model(**{"variables/more": Link("../../../canary/kept")}), "findings"
    ),
    "assets that are a link to the root": Case("saved_model", lambda: _saved_model(more=Link("/")), "findings"),
    "a folder that links to itself": Case("saved_model", lambda: _saved_model(loop=Link(".")), "facts"),
    "a link in a circle": Case("saved_model", lambda: _saved_model(a=Link("b"), b=Link("a")), "facts"),
    "a checkpoint state that names a place above": Case(
        "tf_checkpoint", lambda: _tf_checkpoint("../../canary/kept"), "LOAD_UNSUPPORTED"
    ),
    "a checkpoint state that names an absolute place": Case(
        "tf_checkpoint", lambda: _tf_checkpoint("/somewhere/else/training"), "facts"
    ),
    "a checkpoint state that names itself": Case("tf_checkpoint", lambda: _tf_checkpoint("checkpoint"), "LOAD_UNSUPPORTED"),
    "a checkpoint whose index is a link in a circle": Case(
        "tf_checkpoint",
        lambda: _tf_checkpoint("a", **{"a.index": Link("b.index"), "b.index": Link("a.index")}),
        "LOAD_UNSUPPORTED",
    ),
    # Names
    "a pattern of 5,000 characters": Case("job", lambda: _job_naming("x" * 5000), "JobError"),
    "a pattern with a null byte": Case("job", lambda: _job_naming("a\\0b"), "JobError"),
    "a pattern above the folder": Case("job", lambda: _job_naming("../in/a.keras"), "job of 1"),
    "a pattern with a line end": Case("job", lambda: _job_naming("a\\nb*.keras"), "JobError"),
    "a pattern that a terminal would obey": Case("job", lambda: _job_naming("\\e[31m*"), "JobError"),
    "a pattern that never ends": Case("job", lambda: _job_naming("**/" * 200 + "*"), "job of 2"),
}


def cases(kind: str) -> list[str]:
    return [name for name, case in TABLE.items() if case.kind == kind]


def make(kind: str, number: int) -> Input:
    return TABLE[cases(kind)[number]].make()
