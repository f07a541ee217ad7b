"""Fleets of any size made from one real report, to see how the pages bear them. Same size, same bytes.

`python -m tests.browser.large_fleet REPORT.json 5000 OUT` writes one.
"""

from __future__ import annotations

import copy
import json
import pathlib
import random
import sys
from collections.abc import Iterator
from typing import Any

from liteferry.errors import ReasonCode, Stage
from liteferry.report import fleet_facts, write_fleet

Report = dict[str, Any]

TEAMS = ("vision", "speech", "ranking", "maps")


def large_fleet(report: Report, count: int) -> Iterator[Report]:
    """`count` reports like this one: other names, folders, metadata, sizes and errors; one in ten
    did not ship, for all reasons there are.
    """
    draw = random.Random(17)
    codes = list(ReasonCode)
    for number in range(count):
        made = copy.deepcopy(report)
        made["model_id"] = f"{TEAMS[number % 4]}-{report['model_id']}-{number:05}"
        made["checkpoint"]["uri"] = (
            f"gs://fleet/checkpoints/{TEAMS[number % 4]}/2026-{number % 12 + 1:02}/{made['model_id']}.keras"
        )
        made["metadata"] = {"team": TEAMS[number % 4], "run": number, "learning_rate": draw.choice([0.1, 0.01, 0.001])}
        scale = 10 ** draw.uniform(-1, 2)
        for variant in made["variants"].values():
            variant["bytes"] = int(variant["bytes"] * scale)
            variant["latency_ms"] = {"p50": round(draw.uniform(0.05, 3) * scale, 4)}
            for statistics in variant["parity"].values():
                statistics["max_abs"] *= 10 ** draw.uniform(-1, 1)
        if number % 10 == 9:
            _fail(made, codes[number // 10 % len(codes)], draw)
        yield made


def _fail(report: Report, code: ReasonCode, draw: random.Random) -> None:
    reason = {"code": code.value, "stage": draw.choice(list(Stage)).value, "message": f"{report['model_id']}: what went wrong"}
    lost = draw.random() < 0.3
    report |= {"status": "failed" if lost else "not_blessed", "reason": reason, "recommended_variant": None}
    for name, variant in report["variants"].items():
        if lost or name == min(report["variants"]):
            variant |= {"status": "failed" if lost else "not_blessed", "reason": reason}
    if lost:
        report["variants"] = {}


if __name__ == "__main__":
    source, size, out = sys.argv[1:]
    write_fleet(out, fleet_facts(large_fleet(json.loads(pathlib.Path(source).read_text()), int(size))))
