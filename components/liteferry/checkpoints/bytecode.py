"""Bytecode of trusted Lambda layers. It belongs to one minor version of Python, but does not say which.

Another version refuses it with errors about marshal data, crashes, or computes something else, since an instruction that both
versions know may have another meaning. So it is checked before any of it runs, by the traits of this version's bytecode: known
instructions, the right number of inline caches after each, arguments within range.
"""

from __future__ import annotations

import binascii
import codecs
import dis
import marshal
import opcode
import platform
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

from liteferry.checkpoints import bytecode_versions
from liteferry.checkpoints.config_scan import serialized_objects
from liteferry.errors import ModelError, ReasonCode, Stage

_CODE_BYTE, _REFERENCE_BIT, _BYTES_BYTES = ord("c"), 0x80, (ord("s"), ord("s") | 0x80)
_PARTS = ("function", "mask", "output_shape")


def refuse_other_python(path: str, config: Mapping[str, Any]) -> None:
    """Raises unless every Lambda's bytecode in an architecture is this Python's.

    Args:
      path: as errors name the file.
      config: parsed JSON; the job trusts its Lambda layers.

    Raises:
      ModelError: LOAD_FAILED with the layer and this Python's version.
    """
    for name, text in _lambdas(config):
        raw = _raw(text)
        problem = _problem(raw)
        if problem is not None:
            raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, _told(path, name, bytecode_versions.writer_of(raw), problem))


def foreign_lambdas(path: str, config: Mapping[str, Any]) -> list[str]:
    """The findings of `refuse_other_python` that the bytes alone show: nothing is unmarshalled."""
    here = ".".join(platform.python_version_tuple()[:2])
    found = [(name, bytecode_versions.writer_of(_raw(text))) for name, text in _lambdas(config)]
    return [_told(path, name, writers) for name, writers in found if writers and here not in writers]


def _told(path: str, name: str, writers: Sequence[str], problem: str | None = None) -> str:
    """A sentence on the problem with a Lambda layer's bytecode. `problem`: a trait of it, for bytes that do not show their
    writer.
    """
    here = platform.python_version()
    is_known = bool(writers) and ".".join(here.split(".")[:2]) not in writers
    who = f", {' or '.join(writers)}" if is_known else f" ({problem})"
    under = f"under Python {writers[-1]}" if is_known else "under the Python version that saved the model"
    return (
        f"{path}: the Lambda layer {name!r} holds bytecode of another Python version{who}, and this is Python {here}. Run "
        f"LiteFerry {under}, or save the model again with a registered function or layer in place of the lambda"
    )


def _lambdas(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Layer name and encoded bytecode of everything that a loader would unmarshal."""
    name = "unnamed"
    for node in serialized_objects(config):
        inner = node.get("config")
        if not isinstance(inner, dict):
            continue
        name = str(inner.get("name", name))
        if node["class_name"] == "__lambda__":
            value = inner.get("code", inner.get("value"))
            yield from _texts(name, value)
        for part in _PARTS:
            if isinstance(inner.get(part), list):
                yield from _texts(name, inner[part])


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    text = value[0] if isinstance(value, list) and value else value
    if isinstance(text, str):
        yield name, text


def _raw(text: str) -> bytes:
    """The marshalled code: base64 in newer files, its bytes as text in older ones."""
    try:
        return codecs.decode(text.encode("ascii"), "base64")
    except (UnicodeEncodeError, binascii.Error):
        return text.encode("raw_unicode_escape")


def _problem(raw: bytes) -> str | None:
    """The trait that shows that bytecode is from another Python version; None if there is none."""
    if not raw or raw[0] & ~_REFERENCE_BIT != _CODE_BYTE:
        return "it is not a code object"
    if (
        len(raw) > bytecode_versions.SIX_NUMBERS
        and raw[bytecode_versions.SIX_NUMBERS] in _BYTES_BYTES
        and raw[bytecode_versions.FIVE_NUMBERS] not in _BYTES_BYTES
    ):
        return "it has the layout of Python 3.8 to 3.10"
    try:
        code = marshal.loads(raw)  # noqa: S302  # the job trusts this layer's code, and the loader would do the same
    except (ValueError, EOFError, TypeError, SystemError) as error:
        return f"{error}"
    return _foreign_instruction(code, raw) if isinstance(code, CodeType) else "it is not a code object"


def _written(code: CodeType, raw: bytes) -> bytes:
    """A function's instructions as stored in the file: Python's public attributes return them with their caches reset."""
    head = struct.pack("<5i", code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_stacksize, code.co_flags)
    at = raw.find(head)
    while at >= 0:
        start = at + len(head) + 5
        (length,) = struct.unpack("<i", raw[start - 4 : start]) if len(raw) >= start else (0,)
        if raw[start - 5] in _BYTES_BYTES and length == len(code.co_code):
            return raw[start : start + length]
        at = raw.find(head, at + 1)
    return code.co_code


def _foreign_instruction(code: CodeType, raw: bytes) -> str | None:
    """The first trait of a function, or of a function nested in it, that this Python's compiler would not produce."""
    names: list[str] = []
    caches = 0
    argument = 0
    written = _written(code, raw)
    for at in range(0, len(written), 2):
        operation, low = written[at], written[at + 1]
        name = dis.opname[operation]
        if caches:
            if name != "CACHE":
                return f"{names[-1]} has too few caches"
            caches -= 1
            continue
        argument = argument << 8 | low
        if name.startswith("<") or name == "CACHE":
            return f"instruction {operation} is unknown"
        if not _is_in_range(code, operation, name, argument):
            return f"{name} refers to number {argument}"
        names.append(name)
        argument = argument if name == "EXTENDED_ARG" else 0
        caches = _caches_of(operation, name)
    if "RESUME" in dis.opmap and "RESUME" not in names[:6]:
        return "it does not begin with RESUME"
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return next(filter(None, (_foreign_instruction(one, raw) for one in inner)), None)


def _caches_of(operation: int, name: str) -> int:
    entries: Any = getattr(opcode, "_inline_cache_entries", {})  # by number until 3.12, then by name
    return int(entries.get(name, 0)) if isinstance(entries, dict) else int(entries[operation])


def _is_in_range(code: CodeType, operation: int, name: str, argument: int) -> bool:
    """Whether constant, name and comparison indices exist. Name indices of some instructions carry flags in their low bits."""
    if operation in dis.hasconst:
        return argument < len(code.co_consts)
    if operation in dis.hasname:
        return argument >> 2 < len(code.co_names)
    if operation in dis.hascompare:
        return (argument >> 5 if name == "COMPARE_OP" and not _is_before_3_12() else argument) < len(dis.cmp_op)
    return True


def _is_before_3_12() -> bool:
    return "PRECALL" in dis.opmap
