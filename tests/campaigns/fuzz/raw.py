"""Damage to bytes that knows nothing of their format, and the numbers and names that parsers stumble over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

INTEGERS = (
    *(0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64 - 1),
)
TEXTS = (
    *("", " ", ".", "..", "../../canary/escaped", "/", "//", "a/b", "a\\b", "C:\\x", "con", "-rf", "~", "$(id)", "%s%n", "{0}"),
    *("a\nb", "a\tb", "a\rb", "a\0b", "\x1b[31mred\x1b[0m", "\x07", "\u202egnp.keras", "\u2028", "\ufeff", "\ud800", "\x80"),
    *("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "'\"><b>", "]]>", "{{7*7}}", "[link](x)", "`id`"),
    *("模型", "größe", "\U0001f525", "a\u0301", "ﬁ", "x" * 300, "x" * 5000, "nan", "inf", "1e999", "null", "True", "__class__"),
    *("file:///etc/hostname", "gs://bucket/key", "/etc/hostname", "os", "subprocess", "keras.src.utils", "__lambda__"),
)


def integer(rng: random.Random) -> int:
    """One of those that limits are made of, one beside it, or any."""
    if rng.random() < 0.8:
        return rng.choice(INTEGERS) + rng.choice((0, 0, 0, 1, -1))
    return rng.getrandbits(rng.choice((8, 16, 32, 64)))


def text(rng: random.Random) -> str:
    if rng.random() < 0.9:
        return rng.choice(TEXTS)
    return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0x250), 0x2F))) for _ in range(rng.randrange(1, 40)))


def place(rng: random.Random, size: int) -> int:
    """Anywhere, headers and ends more often than the middle."""
    if size <= 1:
        return 0
    kind = rng.random()
    if kind < 0.35:
        return min(int(rng.expovariate(1 / 64)), size - 1)
    if kind < 0.5:
        return max(size - 1 - int(rng.expovariate(1 / 64)), 0)
    return rng.randrange(size)


def flip(rng: random.Random, content: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        content[place(rng, len(content))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, content: bytearray) -> None:
    at = place(rng, len(content))
    content[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])


def number(rng: random.Random, content: bytearray) -> None:
    """An integer of two, four or eight bytes, in either order."""
    width = rng.choice((2, 4, 4, 8, 8))
    at = place(rng, max(len(content) - width, 1))
    if rng.random() < 0.5:
        at -= at % width
    value = integer(rng) & (1 << 8 * width) - 1
    content[at : at + width] = value.to_bytes(width, rng.choice(("little", "little", "big")))


def cut(rng: random.Random, content: bytearray) -> None:
    del content[place(rng, len(content)) :]


def remove(rng: random.Random, content: bytearray) -> None:
    at = place(rng, len(content))
    del content[at : at + rng.choice((1, 2, 4, 8, 64, 512))]


def insert(rng: random.Random, content: bytearray) -> None:
    at = place(rng, len(content))
    content[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))


def repeat(rng: random.Random, content: bytearray) -> None:
    at, size = place(rng, len(content)), rng.choice((4, 16, 64, 512))
    content[at:at] = content[at : at + size] * rng.choice((1, 2, 100))


def fill(rng: random.Random, content: bytearray) -> None:
    at, size = place(rng, len(content)), rng.choice((4, 16, 64, 512))
    piece = min(size, len(content) - at)
    content[at : at + piece] = bytes([rng.choice((0, 0xFF, 0x41))]) * piece


def move(rng: random.Random, content: bytearray) -> None:
    """A piece of the file over another: offsets that lead to the wrong structure."""
    size = rng.choice((4, 8, 16, 64, 256))
    source, target = place(rng, len(content)), place(rng, len(content))
    piece = content[source : source + size]
    content[target : target + len(piece)] = piece


_DAMAGES: Sequence[Callable[[random.Random, bytearray], None]] = (
    *(flip, flip, overwrite, overwrite, number, number, number),
    *(cut, remove, insert, repeat, fill, move),
)


def damage(rng: random.Random, content: bytes, *, times: int | None = None) -> bytes:
    """The bytes with a few kinds of damage."""
    result = bytearray(content)
    for _ in range(times or rng.choice((1, 1, 1, 2, 3, 8))):
        if result:
            rng.choice(_DAMAGES)(rng, result)
        else:
            result += rng.randbytes(8)
    return bytes(result)


def damage_near(rng: random.Random, content: bytes, marks: Sequence[bytes]) -> bytes:
    """Damage to the few dozen bytes behind one of the signatures that a format marks its structures with."""
    places = [at for mark in marks for at in _finds(content, mark)]
    if not places:
        return damage(rng, content)
    at = rng.choice(places)
    end = at + rng.choice((16, 32, 64, 128))
    return content[:at] + damage(rng, content[at:end]) + content[end:]


def _finds(content: bytes, mark: bytes) -> list[int]:
    found: list[int] = []
    at = content.find(mark)
    while at >= 0 and len(found) < 1000:
        found.append(at)
        at = content.find(mark, at + 1)
    return found
