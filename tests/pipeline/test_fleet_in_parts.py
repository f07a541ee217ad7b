"""The pipeline's last stage: workers write the parts of a large fleet, and its files are those that one process would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from liteferry.output import fleet_files
from liteferry.pipeline.stages.fleet import WriteFleet
from liteferry.report.parts import dealing
from tests.report.test_fleet_in_parts import IDS, fleet

LOCAL = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def written(out: Path) -> dict[str, Any]:
    """The files that do not say when they were written."""
    facts = json.loads((out / "fleet.json").read_text())
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    timeless = {name: data for name, data in files.items() if name.startswith(("fleet/", "assets/", ".history/parts/"))}
    return {**timeless, "facts": {**facts, "run": None}}


@pytest.mark.parametrize("most", [4, 100])
def test_the_stage_writes_what_one_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(dealing, "MOST_IN_ONE_FILE", most)
    monkeypatch.setattr(dealing, "MODELS_IN_A_PART", 3)
    entries = fleet("m03", "m09")
    fleet_files.write(entries, str(tmp_path / "here"), "run")
    with beam.Pipeline(LOCAL) as pipeline:
        pipeline | beam.Create(entries * 2) | WriteFleet(str(tmp_path / "there"), run_id="run")
    assert written(tmp_path / "here") == written(tmp_path / "there")
    assert (tmp_path / "there" / "fleet").exists() == (len(IDS) > most)


def test_a_fleet_without_models_has_its_files(tmp_path: Path) -> None:
    with beam.Pipeline(LOCAL) as pipeline:
        pipeline | beam.Create([]) | WriteFleet(str(tmp_path), run_id="run")
    assert json.loads((tmp_path / "fleet.json").read_text())["totals"]["models"] == 0
