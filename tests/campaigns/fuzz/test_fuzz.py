"""A slice of the fuzzer, the same inputs every time, and every input that ever broke something."""

from __future__ import annotations

import json

import pytest

from tests.campaigns.fuzz import campaign, inputs
from tests.campaigns.fuzz.__main__ import WEIGHTS, shares

# A quarter of a minute of processor time; `make nightly` reads 20,000, `make fuzz` a hundred thousand.
SLICE = 800


@pytest.mark.parametrize("kind", WEIGHTS)
def test_hostile_and_broken_inputs_get_an_answer(kind: str) -> None:
    """Facts or an error of LiteFerry's own: no traceback, no hang, no gigabyte, nothing outside the folder, no dead launcher."""
    tally = campaign.read_many(kind, 7, range(shares(SLICE, list(WEIGHTS))[kind]))
    assert not tally.findings, "\n\n".join(f"number {finding.number}: {finding.what}" for finding in tally.findings[:5])
    assert len(tally.words) > 1, f"whatever the input, the answer is {tally.words}: the fuzzer does not reach the reader"


@pytest.mark.parametrize("kind", [kind for kind in WEIGHTS if inputs.kept(kind)])
def test_what_broke_something_once_gets_an_answer_now(kind: str) -> None:
    names = inputs.kept(kind)
    tally = campaign.read_many(kind, inputs.KEPT, range(len(names)))
    assert not tally.findings, "\n\n".join(f"{names[finding.number]}: {finding.what}" for finding in tally.findings)
    assert tally.inputs == len(names)


def test_every_kept_input_says_what_it_broke() -> None:
    told = json.loads((inputs.CORPUS / "broke.json").read_text())
    assert set(told) == {f"{path.parent.name}/{path.name}" for path in inputs.CORPUS.glob("*/*") if path.is_dir()}
    assert all(entry["broke"] for entry in told.values())
    size = sum(path.stat().st_size for path in inputs.CORPUS.rglob("*") if path.is_file())
    assert size < 2**20, f"{size:,} bytes: keep what is small"


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_seed_number_means_the_same_input_always(kind: str) -> None:
    for number in range(20):
        assert inputs.make(kind, 7, number) == inputs.make(kind, 7, number)
