"""Zip archives that say of their members what Python's reader raises over: each gets a reason code, whatever it is called."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from liteferry.checkpoints import examine, look
from liteferry.errors import ModelError

MEMBERS = {
    "config.json": b'{"class_name": "Sequential", "config": {"layers": []}}',
    "metadata.json": b'{"keras_version": "3.0.0"}',
}
_LOCAL, _LISTED = b"PK\x03\x04", b"PK\x01\x02"


def archive(*, flags: int = 0, version: int = 20, inside: str = "") -> bytes:
    """A `.keras` archive, or a zip file with one in it under a name, every member of which claims the flags and the version."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        for name, content in ({inside: archive()} if inside else MEMBERS).items():
            written.writestr(name, content)
    made = bytearray(stream.getvalue())
    starts = {_LISTED: ((8, flags), (6, version)), _LOCAL: ((6, flags),)}
    listed = [(made.rfind(_LISTED), _LISTED), (0, _LOCAL)] if inside else [(at, _LISTED) for at in _places(bytes(made), _LISTED)]
    listed += [] if inside else [(at, _LOCAL) for at in _places(bytes(made), _LOCAL)]
    for at, kind in listed:
        for field, value in starts[kind]:
            struct.pack_into("<H", made, at + field, value)
    return bytes(made)


def _places(content: bytes, signature: bytes) -> list[int]:
    return [at for at in range(len(content)) if content.startswith(signature, at)]


@pytest.mark.parametrize("name", ["m.keras", "m.zip"])
@pytest.mark.parametrize("inside", ["", "inner.keras"])
@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"flags": 0x1}, "is encrypted"),
        ({"flags": 0x20}, "is encrypted, or a patch"),
        ({"flags": 0x41}, "is encrypted"),
        ({"version": 99}, "version 9.9"),
    ],
)
def test_what_python_does_not_unpack_is_said_in_a_reason(
    tmp_path: Path, name: str, inside: str, claims: dict[str, int], says: str
) -> None:
    (tmp_path / name).write_bytes(archive(**claims, inside=inside))
    for read in (look, examine):
        with pytest.raises(ModelError, match=says) as refused:
            read(str(tmp_path / name))
        assert refused.value.reason.code.value in ("LOAD_UNSUPPORTED", "LOAD_CORRUPT")


def test_the_same_archive_without_such_claims_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(archive())
    (tmp_path / "m.zip").write_bytes(archive(inside="inner.keras"))
    assert [look(str(tmp_path / name)).keras_version for name in ("m.keras", "m.zip")] == ["3.0.0", "3.0.0"]


def test_what_is_wrong_inside_an_archive_is_said_of_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as written:
        written.writestr("inner.h5", b"")
    with pytest.raises(ModelError) as refused:
        look(str(tmp_path / "m.zip"))
    assert refused.value.reason.message.startswith(f"{tmp_path / 'm.zip'} (inner.h5) is an empty file")
