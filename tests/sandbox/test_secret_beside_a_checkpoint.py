"""The export of a job whose folder has a secret in it, next to the checkpoints: their code cannot read it, and trusted modules
can where `reads` says so. Of two models one cannot touch the other's folders.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config.load import parse_job
from liteferry.exporting.export import export_isolated
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.sandbox import Flavor, Limits, held
from tests.support.units import run_unit

pytestmark = pytest.mark.skipif("files" not in held.held(), reason="this kernel confines no files")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's folder with a secret, rows, the user's code and three checkpoints."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "secret.txt").write_text("SECRET")
    np.savez(folder / "rows.npz", x=np.ones((4, 3), np.float32))
    touches = [str(folder / "out" / ".staging" / "models" / name / "0") for name in ("layer", "other")]
    outcome = run_unit(
        "tests.sandbox.reading_units:save_readers",
        (str(folder), str(folder / "secret.txt"), touches),
        flavor=Flavor.KERAS,
        limits=Limits(seconds=120, memory_bytes=8 * 10**9),
        writable=[str(folder)],
    )
    assert outcome.error is None, outcome.error
    return folder


def plans(folder: Path, **keys: Any) -> dict[str, ModelPlan]:
    mapping = {
        "models": [{"checkpoints": "*.keras"}],
        "samples": {"rows": {"path": "rows.npz"}},
        "modules": ["layers.py"],
        "trust": ["lambda"],
        "variants": [],
        **keys,
    }
    job = parse_job(mapping, base_dir=str(folder))
    return {plan.model_id: plan for plan in plan_models(job, str(folder / "out"))}


@pytest.mark.parametrize("model_id", ["bytecode", "layer"])
def test_a_secret_beside_the_checkpoint_cannot_be_read_by_what_it_runs(folder: Path, model_id: str) -> None:
    (exported,) = export_isolated([plans(folder)[model_id]])
    assert exported.reason is not None
    assert exported.saved_model is None
    assert f"{folder / 'secret.txt'} is not among the paths that this job names" in exported.reason.message
    assert "under `reads`" in exported.reason.message


def test_what_reads_names_a_trusted_module_can_read(folder: Path) -> None:
    (exported,) = export_isolated([plans(folder, reads=["secret.txt"])["layer"]])
    assert exported.reason is None, exported.reason
    assert exported.saved_model is not None and exported.saved_model.deterministic


def test_a_model_writes_into_its_own_folder_and_not_into_its_neighbours(folder: Path) -> None:
    both = plans(folder, reads=["secret.txt"])
    neighbour = Path(both["other"].staging_directory())
    neighbour.mkdir(parents=True)
    export_isolated([both["layer"]])
    assert (Path(both["layer"].staging_directory()) / "touched").exists()
    assert list(neighbour.iterdir()) == []


def test_what_brings_code_of_its_own_shares_no_process(folder: Path) -> None:
    """What shares a process shares its folders, so nothing that a stranger's file brings along may run in it."""
    assert fingerprint(plans(folder)["bytecode"]).share_key is None


def test_reads_count_among_what_decides_a_report(folder: Path) -> None:
    """A file that a module reads is a part of the function, as far as its time and size tell."""
    before, listed = plans(folder)["layer"], plans(folder, reads=["secret.txt"])["layer"]
    assert before.recipe_digest != listed.recipe_digest and before.work_digest != listed.work_digest
    digests: dict[str, Any] = {"recipe_digest": "", "work_digest": "", "unlabelled_digest": ""}
    assert dataclasses.replace(before, load=listed.load, **digests) == dataclasses.replace(listed, **digests)


@pytest.mark.parametrize("inside", [True, False])
def test_a_launcher_takes_no_digest_of_what_a_strangers_link_leads_to(folder: Path, tmp_path: Path, inside: bool) -> None:
    """A folder that a pattern finds, with a link to all of the disk in it; or the link itself where a checkpoint should be."""
    (tmp_path / "found" / "saved_model").mkdir(parents=True)
    (tmp_path / "found" / "saved_model" / "saved_model.pb").write_bytes(b"a graph")
    if inside:
        (tmp_path / "found" / "saved_model" / "assets").symlink_to("/")
    else:
        (tmp_path / "found" / "link.keras").symlink_to(folder / "secret.txt")
    job = parse_job({"models": [{"checkpoints": "found/*"}], "samples": {}}, base_dir=str(tmp_path))
    looked = {plan.uri: fingerprint(plan) for plan in plan_models(job, str(tmp_path / "out"))}
    told = looked[str(tmp_path / "found" / ("saved_model" if inside else "link.keras"))]
    assert (told.digest, told.size_bytes, told.share_key) == (None, None, None)
    if not inside:
        assert looked[str(tmp_path / "found" / "saved_model")].digest is not None
