"""`outputs` of a models entry: what is known of an output."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.config.load import parse_job
from liteferry.errors import JobError


def job(outputs: Any) -> Any:
    return parse_job({"models": [{"checkpoints": "a.keras", "outputs": outputs}]}, base_dir=None)


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_says_what_the_last_axis_holds(kind: str) -> None:
    (entry,) = job({"y": {"kind": kind}}).models
    assert {name: output.kind.value for name, output in entry.outputs.items()} == {"y": kind}


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"y": {"kind": "forecast"}}, "models[0].outputs.y.kind: 'forecast' is not one of regression, classes"),
        ({"y": {"kinds": "classes"}}, "models[0].outputs.y.kinds: is an unknown key (did you mean kind?)"),
    ],
)
def test_mistakes_are_named(outputs: Any, words: str) -> None:
    with pytest.raises(JobError) as raised:
        job(outputs)
    assert words in str(raised.value)
