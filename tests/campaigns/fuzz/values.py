"""JSON values changed at one or a few places, and the texts that hold them: JSON and YAML."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from typing import Any

from tests.campaigns.fuzz import raw

_DANGEROUS: tuple[Any, ...] = (
    {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAAA="}},
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    {"module": "builtins", "class_name": "eval", "config": "1"},
    {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEA", None, None], "function_type": "lambda"}},
    {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
    {"class_name": "__tensor__", "config": {"value": [[1.0]], "dtype": "float32"}},
    {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "keras_history": ["a", 0, 0]}},
    {"class_name": "Sequential", "config": {"layers": []}},
    {"class_name": "StringLookup", "config": {"name": "v", "vocabulary": "/etc/hostname"}},
)
_MOST_NODES = 4000


def scalar(rng: random.Random) -> Any:
    kind = rng.randrange(10)
    if kind < 3:
        return raw.text(rng)
    if kind < 6:
        return raw.integer(rng)
    return rng.choice((None, True, False, 0.0, -0.0, 1e308, 5e-324, float("nan"), float("inf"), -1.5, 10**400, [], {}, ""))


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a value."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending and len(found) < _MOST_NODES:
        node = pending.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, item in itertools.islice(items, _MOST_NODES - len(found)):
            found.append((node, key))
            pending.append(item)
    return found


def change(rng: random.Random, value: Any) -> Any:
    """The value with one place changed. Works on a value that belongs to the caller."""
    nodes = _nodes(value)
    if not nodes:
        return rng.choice((scalar(rng), [value], {"a": value}, value))
    holder, key = rng.choice(nodes)
    kind = rng.randrange(14)
    if kind < 4:
        holder[key] = scalar(rng)
    elif kind == 4:
        del holder[key]
    elif kind == 5:
        holder[key] = [holder[key]] if rng.random() < 0.5 else {raw.text(rng): holder[key]}
    elif kind == 6:
        for _ in range(rng.choice((3, 50, 190, 250, 900))):
            holder[key] = [holder[key]] if rng.random() < 0.7 else {"config": holder[key]}
    elif kind == 7:
        _rename(rng, holder, key)
    elif kind == 8:
        other, place = rng.choice(nodes)
        holder[key] = json_copy(other.get(place) if isinstance(other, dict) else other[place] if place < len(other) else None)
    elif kind == 9:
        holder[key] = json_copy(rng.choice(_DANGEROUS))
    elif kind == 10 and isinstance(holder, list):
        holder[:] = holder * (rng.choice((2, 20, 300)) if len(nodes) < _MOST_NODES // 4 and len(holder) < 40 else 2)
    elif kind == 11:
        number = holder[key]
        holder[key] = -number if isinstance(number, (int, float)) else str(number)[: rng.randrange(1, 40)]
    elif kind == 12:
        _rename(rng, holder, key, like=rng.choice(nodes)[1])
    else:
        holder[key] = {"text": lambda: "x" * 200_000, "list": lambda: [0] * 3000, "number": lambda: raw.integer(rng)}[
            rng.choice(("text", "list", "number", "number", "number"))
        ]()
    return value


def _rename(rng: random.Random, holder: Any, key: Any, *, like: Any = None) -> None:
    if isinstance(holder, dict):
        holder[str(like) if like is not None else raw.text(rng)] = holder.pop(key)
    else:
        holder.insert(0, holder.pop(key))


def json_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: json_copy(item) for key, item in value.items()}
    return [json_copy(item) for item in value] if isinstance(value, list) else value


def changed(rng: random.Random, value: Any) -> Any:
    with contextlib.suppress(RecursionError):  # it nests deeper than it can be copied: deep enough
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            value = change(rng, value)
    return value


def as_json(rng: random.Random, value: Any) -> bytes:
    """The value's text; sometimes spelled as no writer would."""
    try:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    except (ValueError, RecursionError, TypeError):
        text = "[" * 2000
    return text.encode("utf-8", "surrogatepass")


def json_text(rng: random.Random, content: bytes) -> bytes:
    """JSON with places changed; one time in six its text is damaged instead."""
    kind = rng.random()
    if kind < 0.12:
        return raw.damage(rng, content)
    if kind < 0.17:
        return _odd_text(rng, content)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return raw.damage(rng, content)
    return as_json(rng, changed(rng, value))


def _odd_text(rng: random.Random, content: bytes) -> bytes:
    opening = rng.choice((b"[", b'{"a":', b'[{"":'))
    return rng.choice(
        (
            opening * rng.choice((10, 900, 100_000)),
            b"\xef\xbb\xbf" + content,
            content.decode("utf-8", "replace").encode("utf-16"),
            content + content,
            content[:-1] + b',"a":' + b"9" * 5000 + b"}",
            b"\0" * 64,
            b"",
            b"null",
            b'"' + b"\\ud800" + b'"',
            content.replace(b":", b":\x00", 1),
        )
    )


def _laughs(levels: int) -> bytes:
    """A few lines in which nine aliases stand for nine aliases each."""
    names = [f"a{level}" for level in range(levels)]
    lines = [
        f"a0: &a0 [{', '.join('x' * 9)}]",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in itertools.pairwise(names)),
    ]
    return "".join(f"{line}\n" for line in lines).encode() + f"models: *{names[-1]}\n".encode()


_YAML_LINES = (
    _laughs(9),
    _laughs(4),
    b"x: !!python/object/apply:os.system ['touch ../../canary/escaped']\n",
    b"x: !!python/name:os.system\n",
    b"x: !!binary 'AAAA'\n",
    b"x: !!set {a, b}\n",
    b"x: !!timestamp 2024-13-45\n",
    b"x: !<tag:yaml.org,2002:int> abc\n",
    b"x: &a {<<: *a}\n",
    b"<<: [{models: 1}, 3]\n",
    b"? [a, b]\n: c\n",
    b"? {a: b}\n: c\n",
    b"--- a\n--- b\n",
    b"%YAML 9.9\n---\n",
    b"x: 0x" + b"f" * 5000 + b"\n",
    b"x: " + b"9" * 5000 + b"\n",
    b"x: 0o9\n",
    b"x: 1_000\n",
    b"\tx: 1\n",
    b"x: |\n  a\n b\n",
    b"x: *nothing\n",
    b"x: '\\0'\n",
    b'x: "\\x00\\U0010ffff\\uD800"\n',
    b"[" * 3000,
    b"{a: " * 3000,
    b"- " * 3000,
    b"\x07",
    b"\xff\xfe",
    b"=: =\n",
    b"a: !\n",
    b"a: !!\n",
    b"a: !!float x\n",
    b"a: !!bool x\n",
    b"a: !!int ''\n",
    b"a: !!null x\n",
    b"a: !!map [1]\n",
    b"a: !!seq {b: 1}\n",
    b"a: !!omap [1]\n",
    b"a: !!pairs [[1]]\n",
    b"a: !!str [1]\n",
    b"a: 0x\n",
    b"a: -\n",
    b"a: +.e5\n",
)


def yaml_text(rng: random.Random, content: bytes) -> bytes:
    """YAML with places changed, lines put in, or its text damaged."""
    import yaml

    kind = rng.random()
    if kind < 0.15:
        return raw.damage(rng, content)
    if kind < 0.35:
        lines = content.splitlines(keepends=True)
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(_YAML_LINES))
        return b"".join(lines)
    if kind < 0.4:
        return _odd_text(rng, content)
    value = changed(rng, yaml.safe_load(content))
    if rng.random() < 0.5:
        return as_json(rng, value)
    try:
        return bytes(yaml.safe_dump(value, allow_unicode=rng.random() < 0.5, encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError, RecursionError):
        return as_json(rng, value)
