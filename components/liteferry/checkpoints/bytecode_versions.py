"""Determines which Python version wrote a function's bytecode, from its bytes: nothing is unmarshalled and nothing runs.

A marshalled code object does not say its version. Its layout tells 3.11 and newer from 3.8 to 3.10 and from older ones.
Within these, the numbers of instructions, the caches behind them, and the table of lines tell more. Made from each version's
own `opcode` module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

_CODE_BYTE, _REFERENCE_BIT, _BYTES_BYTES = ord("c"), 0x80, (ord("s"), ord("s") | 0x80)
_NUMBER_BYTES = 4
# Where a code object's instructions begin: behind five numbers since 3.11 and before 3.8, behind six in between.
FIVE_NUMBERS, SIX_NUMBERS = 21, 25
_RESUME_OF_3_14 = 128
_COPY_FREE_VARS_OR_MAKE_CELL = 4  # the most instructions before RESUME


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Version:
    """`resume`: number of the instruction that functions begin with. `caches`: instruction -> the entries that follow it.
    `known`: the numbers of its instructions.
    """

    resume: int
    caches: Mapping[int, int]
    known: frozenset[int]


def _numbers(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


_VERSIONS = {
    "3.11": _Version(
        resume=151,
        caches={25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
        known=_numbers(
            "1-2 9-12 15 25 30-33 35-37 49-54 60-61 68-71 74-75 82-112 114-120 122-126 128-140 142 144-149 151-152 155-157 160 "
            "162-166 171-176"
        ),
    ),
    "3.12": _Version(
        resume=151,
        caches={25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1, 116: 4, 122: 1, 123: 1, 141: 1, 171: 3},
        known=_numbers(
            "1-5 9 11-12 15 17 25-27 30-33 35-37 49-55 60-61 68-69 71 74-75 83 85 87 89-110 114-147 149-152 155-157 162-165 "
            "171-176"
        ),
    ),
    "3.13": _Version(
        resume=149,
        caches={
            **dict.fromkeys((5, 39, 45, 58, 59, 72, 77, 93, 97, 98, 99, 100, 104, 117), 1),
            40: 3,
            53: 3,
            82: 9,
            91: 4,
            108: 4,
        },
        known=_numbers("1-2 4-118 149"),
    ),
}


def writer_of(raw: bytes) -> tuple[str, ...]:
    """The versions of Python that may have written a marshalled function, for example `("3.8", "3.9")`; () if the bytes are not
    a function.
    """
    if not raw or raw[0] & ~_REFERENCE_BIT != _CODE_BYTE:
        return ()
    if (written := _instructions(raw, FIVE_NUMBERS)) is not None:
        found = tuple(name for name, version in _VERSIONS.items() if _fits(written, version))
        return found or (("3.14 or newer",) if _has_caches(written) else ("3.7 or older",))
    if (written := _instructions(raw, SIX_NUMBERS)) is None:
        return ()
    table = _last_bytes(raw)
    if table is None:
        return ("3.8", "3.9", "3.10")
    # The table of 3.10 counts every instruction, the older ones' ends at the last new line.
    return ("3.10",) if table and sum(table[::2]) == len(written) else ("3.8", "3.9")


def _instructions(raw: bytes, at: int) -> bytes | None:
    start = at + 1 + _NUMBER_BYTES
    if len(raw) < start or raw[at] not in _BYTES_BYTES:
        return None
    length = int.from_bytes(raw[at + 1 : start], "little")
    return raw[start : start + length] if 0 < length <= len(raw) - start and length % 2 == 0 else None


def _pairs(written: bytes) -> Iterator[tuple[int, int]]:
    return zip(written[::2], written[1::2], strict=True)


def _fits(written: bytes, version: _Version) -> bool:
    """Whether a version could have written these instructions: known numbers, whole caches, RESUME near the beginning."""
    caches, seen = 0, []
    for number, _ in _pairs(written):
        if caches:
            if number != 0:
                return False
            caches -= 1
            continue
        if number not in version.known:
            return False
        seen.append(number)
        caches = version.caches.get(number, 0)
    return not caches and version.resume in seen[: _COPY_FREE_VARS_OR_MAKE_CELL + 2]


def _has_caches(written: bytes) -> bool:
    """Whether the instructions are of Python 3.11 or later: there, zeros follow some instructions, and 3.14 begins functions
    with 128. In earlier versions neither is an instruction.
    """
    numbers = [number for number, _ in _pairs(written)]
    return 0 in numbers or _RESUME_OF_3_14 in numbers[: _COPY_FREE_VARS_OR_MAKE_CELL + 2]


def _last_bytes(raw: bytes) -> bytes | None:
    """The bytes object at the end: a code object's table of lines."""
    for length in range(min(len(raw) - _NUMBER_BYTES - 1, 2**16)):
        start = len(raw) - length - _NUMBER_BYTES
        if raw[start - 1] in _BYTES_BYTES and int.from_bytes(raw[start : start + _NUMBER_BYTES], "little") == length:
            return raw[start + _NUMBER_BYTES :]
    return None
