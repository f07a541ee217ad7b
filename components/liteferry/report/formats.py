"""Numbers, sizes and shapes in a form that people read. Nothing is rounded in a model's favour: 0.99999
is never shown as 100 %.
"""

from __future__ import annotations

import json
import math

from liteferry import lenient
from liteferry.types import Status

ABSENT = "\u2013"  # an en dash

STATUS_WORDS = {
    Status.BLESSED: "blessed",
    Status.NOT_BLESSED: "not blessed",
    Status.UNVERIFIABLE: "unverifiable",
    Status.FAILED: "failed",
}
STATUS_MARKS = {Status.BLESSED: "✓", Status.NOT_BLESSED: "✗", Status.UNVERIFIABLE: "?", Status.FAILED: "!"}

STAGE_WORDS = {
    "discover": "finding the checkpoint",
    "load": "loading the checkpoint",
    "export": "exporting the SavedModel",
    "convert": "converting to TFLite",
    "samples": "reading the sample data",
    "reference": "running the checkpoint on the sample data",
    "evaluate": "running what was made on the sample data",
    "judge": "judging against the gates",
    "publish": "publishing the files",
}

# C0 controls except tab and newline, C1 controls, and marks that reverse text: they can make a message look like another one.
_UNPRINTABLE = dict.fromkeys((*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_UNPRINTABLE |= {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}


def printable(value: str) -> str:
    """The text with terminal escapes, other control characters and reversing marks made visible. Keeps a `Markup` one."""
    return value.translate(_UNPRINTABLE)


def single_line(value: object, *, limit: int = 160) -> str:
    """The text on one line, printable, cut at `limit` characters with an ellipsis."""
    joined = " ".join(printable(lenient.text(value) or "").split())
    return joined if len(joined) <= limit else joined[: limit - 1].rstrip() + "…"


def human_bytes(value: object) -> str:
    """`21 kB`, `4.2 MB`: decimal units, as `ls -h --si` and package indexes count."""
    count = lenient.number(value)
    if count is None or not math.isfinite(count):
        return ABSENT
    if count < 1000:
        return f"{count:.0f} B"
    units = ["PB", "TB", "GB", "MB", "kB"]
    unit, count = units.pop(), count / 1000
    while units and round(count) >= 1000:
        unit, count = units.pop(), count / 1000
    return f"{count:.1f} {unit}" if round(count, 1) < 10 else f"{count:.0f} {unit}"


def human_number(value: object) -> str:
    """`1.2e-07`, `0.0121`, `0.9833`, `1,797`: few digits for small numbers, every digit of a count."""
    parsed = lenient.number(value)
    if parsed is None:
        return ABSENT
    if math.isnan(parsed):
        return "NaN"
    if math.isinf(parsed):
        return "∞" if parsed > 0 else "-∞"
    if parsed == int(parsed) and abs(parsed) < 1e15:
        return f"{int(parsed):,}"
    if abs(parsed) < 1e-3 or abs(parsed) >= 1e6:
        return f"{parsed:.1e}"
    return f"{parsed:.3g}" if abs(parsed) < 0.1 else f"{parsed:.4g}"


def exact_number(value: object) -> str:
    """The shortest text that gives back the same float: limits are shown as the user wrote them."""
    parsed = lenient.number(value)
    if parsed is None:
        return plain(value)
    return human_number(parsed) if not math.isfinite(parsed) or parsed == int(parsed) else repr(parsed)


def beside_limit(observed: object, limit: object) -> str:
    """`observed` with enough digits to show on which side of `limit` it is: 0.97996 beside 0.98 is not shown as 0.98."""
    parsed, bound = lenient.number(observed), lenient.number(limit)
    if parsed is None or bound is None or not math.isfinite(parsed) or parsed == int(parsed):
        return plain(observed) if parsed is None else human_number(parsed)
    for shown in (human_number(parsed), *(f"{parsed:.{digits}g}" for digits in range(4, 17))):
        rounded = float(shown)
        if (rounded > bound, rounded < bound) == (parsed > bound, parsed < bound):
            return shown
    return repr(parsed)


def human_share(value: object) -> str:
    """`99.83 %`, rounded down: only 1.0 is `100 %`."""
    parsed = lenient.number(value)
    if parsed is None or not math.isfinite(parsed):
        return human_number(parsed)
    percent = math.floor(parsed * 10_000 + 1e-9) / 100
    return f"{percent if parsed >= 1 else min(percent, 99.99):.4g} %"


def human_cosine(value: object) -> str:
    """Six decimals, rounded down: only 1.0 is `1`."""
    parsed = lenient.number(value)
    if parsed is None or not math.isfinite(parsed) or parsed >= 1:
        return human_number(parsed)
    return f"{math.floor(parsed * 1e6) / 1e6:.6f}"


def human_seconds(value: object) -> str:
    """`0.42 s`, `12.3 s`, `3 min 20 s`."""
    parsed = lenient.number(value)
    if parsed is None or not math.isfinite(parsed):
        return ABSENT
    if parsed < 60:
        return f"{parsed:.2f} s" if parsed < 10 else f"{parsed:.1f} s"
    minutes, rest = divmod(round(parsed), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shape(value: object) -> str:
    """`(None, 28, 28, 1)`, as TensorFlow writes it; None or -1 is a free dimension."""
    if not isinstance(value, (list, tuple)):
        return ABSENT if value is None else plain(value)
    sizes = ["None" if size is None or size == -1 else str(size) for size in value]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def plain(value: object) -> str:
    """Any JSON value as text: strings as they are, the rest as JSON."""
    if value is None:
        return ABSENT
    if isinstance(value, str):
        return lenient.text(value) or ""
    return lenient.text(json.dumps(value, ensure_ascii=False, default=str)) or ""


def counted(count: int, noun: str) -> str:
    """`1 model`, `2 models`, `1,797 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
