"""A slice of the scale campaign, and proof that it can fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.campaigns.scale import __main__ as scale


def test_every_row_of_every_shard_is_compared_within_the_limit_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """So few rows keep no core busy: that is for the campaign."""
    arguments = ["--rows", "4000", "--shards", "4", "--least_busy", "0"]
    assert scale.main(arguments) == 0, capsys.readouterr().err
    assert "4,000 rows in 4 shards" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"status": 1}, "exit status 1"),
        ({"compared": {3999}}, "rows compared {3999}"),
        ({"peak_bytes": 3 * 10**9}, "a process held 3,000,000,000 bytes"),
        ({"busy": 0.5}, "there was work for 50% of the cores' time, expected 75%"),
    ],
)
def test_what_did_not_hold_is_said(found: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"status": 0, "compared": {4000}, "peak_bytes": 10**9, "busy": 0.9}
    assert scale.problems_of(rows=4000, least_busy=0.75, reason=None, **good) == []
    (problem,) = scale.problems_of(rows=4000, least_busy=0.75, reason=None, **(good | found))
    assert words in problem
