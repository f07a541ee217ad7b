"""What the tests of the second opinion run in sandboxes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np


def opinion_of_case(folder: str, reporter: Any) -> None:
    """The library's own loader on a fixture's checkpoint, held against what its writer answered. Hands over a SecondOpinion."""
    from liteferry import checkpoints
    from liteferry.exporting import second_opinion
    from liteferry.loading.model import LoadSpec
    from liteferry.loading.opinion import loader
    from liteferry.loading.opinion.calls import NoOpinionError
    from liteferry.types import OpinionStatus, SecondOpinion, TensorSpec
    from tests.checkpoints.loading_unit import read_rows

    case = json.loads((Path(folder) / "case.json").read_text())
    names = ("modules", "custom_objects", "trust", "builder", "builder_args", "strip")
    given: Any = {name: tuple(case[name]) if isinstance(case[name], list) else case[name] for name in names if name in case}
    rows = read_rows(Path(folder) / "rows.npz")
    columns = [
        TensorSpec(name=name, shape=(None, *value.shape[1:]), dtype="string" if value.dtype == object else value.dtype.name)
        for name, value in rows.items()
    ]
    path = str(Path(folder) / case["checkpoint"])
    facts = checkpoints.examine(path)
    with np.load(Path(folder) / "expected.npz") as stored:
        expected = {name: stored[name] for name in stored.files}
    try:
        own = loader.load(facts.path or path, facts, LoadSpec(**given), oracle=case["writer"], inputs=columns)
        asked = second_opinion.Asked(by=own.by, rows=4, corrections=own.corrections)
        opinion = second_opinion.compare(expected, own.answers(rows), limits=lambda _: 1e-5, asked=asked)
    except NoOpinionError as error:
        opinion = SecondOpinion(status=OpinionStatus.NONE, why=str(error))
    reporter.result(dataclasses.asdict(opinion))
