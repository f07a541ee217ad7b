"""A slice of `make truth`: a job with planted defects; each comes to its code, and its neighbours keep their verdict.

`make truth` runs some thousand models of both libraries, in every kind of file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liteferry.sandbox import Flavor
from tests.campaigns.truth import cases, table
from tests.campaigns.truth.campaign import Batch, Steps, results
from tests.support.pipelines import run_pipeline
from tests.support.programs import run_program

SLICE = (
    "normalization__state__*__keras",  # four siblings; one was adapted to other data
    "batch_normalisation__dropped__*__h5",  # one of the files lacks an array
    "branches__reordered__legacy_weights",  # the builder makes two layers of one shape in another order
    "called_twice__h5",
    "own_table__keras",
    "own_random_constant__keras",
)
Result = dict[str, Any]


def _program(step: str, batch: Batch, folder: Path) -> None:
    """In a child of a nursery; what judges has no Keras."""
    code = f"import runpy; runpy.run_module('tests.campaigns.truth.{step}', run_name='__main__', alter_sys=True)"
    run_program(code, folder, folder=folder, flavor=Flavor.CLEAN if step == "judge" else Flavor.KERAS)


def _job(batch: Batch, folder: Path) -> None:
    run_pipeline(folder / "job.json", folder / "out", processes=batch.processes)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Results by name."""
    batch = Batch(library="keras", only=SLICE, is_reloaded=False, variants=(), processes=1)
    found = results(batch, tmp_path_factory.mktemp("truth"), Steps(program=_program, job=_job))
    return {result["name"]: result for result in found}


def _members(fleet: dict[str, Result], odd: str) -> list[Result]:
    return [result for result in fleet.values() if result["fleet"] == odd]


def test_nothing_that_was_blessed_is_wrong_and_each_has_its_second_opinion(fleet: dict[str, Result]) -> None:
    assert len(fleet) == 12
    assert table.broken(list(fleet.values())) == []


def test_a_sibling_with_other_statistics_answers_with_its_own(fleet: dict[str, Result]) -> None:
    siblings = _members(fleet, "state")
    assert len(siblings) == cases.FLEET_SIZE
    assert all(table.is_blessed(sibling) and not table.is_lie(sibling) for sibling in siblings)


def test_a_file_without_one_of_its_arrays_is_refused_and_its_siblings_are_not(fleet: dict[str, Result]) -> None:
    for sibling in _members(fleet, "dropped"):
        if sibling["member"] == cases.ODD_MEMBER:
            assert sibling["verdict"]["codes"] == ["WEIGHTS_MISMATCH"], sibling["verdict"]
        else:
            assert table.is_blessed(sibling)


@pytest.mark.parametrize("name", ["branches__reordered__legacy_weights", "called_twice__h5", "own_table__keras"])
def test_what_names_and_state_tell_apart_is_blessed(fleet: dict[str, Result], name: str) -> None:
    assert table.is_blessed(fleet[name])


def test_what_is_another_model_in_each_process_is_not_blessed(fleet: dict[str, Result]) -> None:
    result = fleet["own_random_constant__keras"]
    assert not table.is_blessed(result)
    assert result["verdict"]["codes"] == ["EXPORT_MISMATCH"]
