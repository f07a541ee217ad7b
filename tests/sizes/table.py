"""Reports -> the table of sizes: how many models get a file that is hardly larger than an all-int8 one, and how small files
get.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "variants.md"
HARDLY_LARGER = 1.15
AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One model. Sizes in bytes, None where there is none: of its float32 file, of an all-int8 file whether or not it is
    blessed, of the smallest blessed one of today's variants, and of the smallest with `auto`. `sentence`: what stands in
    `auto`'s way.
    """

    model_id: str
    float32: int | None
    all_int8: int | None
    before: int | None
    after: int | None
    sentence: str | None = None

    def is_small(self, size: int | None) -> bool:
        """Whether a size counts beside the all-int8 file."""
        return size is not None and self.all_int8 is not None and size <= HARDLY_LARGER * self.all_int8

    def ratio(self, size: int | None) -> float:
        """To float32; 1 for a model without any file that counts."""
        return size / self.float32 if size is not None and self.float32 else 1.0


def rows_of(reports: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Models whose SavedModel is blessed: of the others no file can be."""
    found = []
    for report in reports:
        if (report.get("saved_model") or {}).get("status") != "blessed":
            continue
        variants = report["variants"]
        sizes = {name: facts["bytes"] for name, facts in variants.items() if facts["status"] == "blessed"}
        made = {name: facts["bytes"] for name, facts in variants.items() if facts["bytes"] is not None}
        auto = variants.get(AUTO) or {}
        found.append(
            Row(
                model_id=report["model_id"],
                float32=made.get("float32"),
                all_int8=made.get("int8", made.get("dynamic_int8")),
                before=min((size for name, size in sizes.items() if name != AUTO), default=None),
                after=min(sizes.values(), default=None),
                sentence=_sentence(auto),
            )
        )
    return found


def _sentence(auto: Mapping[str, Any]) -> str | None:
    """The operator whose weights matter most, with its figure, and the gate that was missed."""
    if auto.get("reason"):
        return str(auto["reason"]["message"])
    facts = auto.get("auto") or {}
    measured = [one for one in facts.get("sensitivity", ()) if one["sqnr_db"] is not None]
    missed = [one["why"] for one in facts.get("tried", ()) if one["why"]]
    if not measured or not missed:
        return None
    worst = min(measured, key=lambda one: one["sqnr_db"])
    return f"{worst['operator']} {worst['name']!r} alone in {worst['format']} leaves {worst['sqnr_db']:.1f} dB; {missed[-1]}"


def table(rows: Sequence[Row]) -> str:
    """Lines of Markdown."""
    total = len(rows)
    small = {name: sum(row.is_small(getattr(row, name)) for row in rows) for name in ("before", "after")}
    mean = {name: _geometric_mean([row.ratio(getattr(row, name)) for row in rows]) for name in ("before", "after")}
    told = [row for row in rows if not row.is_small(row.after) and row.sentence]
    silent = total - small["after"] - len(told)
    shares = {name: f"{count / total:.0%}" for name, count in {**small, "told": len(told), "silent": silent}.items()}
    first = f"| a blessed file of at most {HARDLY_LARGER} times the all-int8 one | {shares['before']} | {shares['after']} |"
    return "\n".join(
        [
            f"| {total} models | today's variants | with `auto` |",
            "| --- | ---: | ---: |",
            first,
            f"| only a sentence that names the operator and the figure in the way | | {shares['told']} |",
            f"| neither | | {shares['silent']} |",
            f"| smallest blessed over float32, geometric mean | {mean['before']:.2f} | {mean['after']:.2f} |",
        ]
    )


def lines(rows: Sequence[Row]) -> list[str]:
    """One line for each model: sizes over float32, and the sentence of one without a small file."""
    found = []
    for row in sorted(rows, key=lambda row: row.model_id):
        shares = " ".join(
            f"{name} {'-' if size is None else format(row.ratio(size), '.2f')}"
            for name, size in [("all-int8", row.all_int8), ("before", row.before), ("with auto", row.after)]
        )
        told = "" if row.is_small(row.after) else f" | {row.sentence or 'no sentence'}"
        found.append(f"{row.model_id}: {shares}{told}")
    return found


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else 1.0
