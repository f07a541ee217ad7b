"""The TFX component's own thinking, which needs no TFX: channels to a job, a run's folder to artifacts."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteferry import storage
from liteferry.errors import JobError, LiteFerryError, StorageError
from liteferry.tfx import assembly, outputs
from liteferry.tfx.assembly import Inputs

Tree = Callable[[str], str]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """`tree("a/b.keras")` makes that file and gives its path; a name with a slash at its end makes a folder."""

    def make(name: str) -> str:
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"")
        return str(path)

    return make


def assemble(inputs: Inputs, **parameters: str | None) -> Any:
    return assembly.assemble(inputs, **{"job": None, "checkpoints": None, "split": None, **parameters})


@pytest.mark.parametrize(("there", "found"), [
    (["Format-Serving/saved_model.pb", "Format-TFMA/saved_model.pb"], ["Format-Serving"]),
    (["Format-Serving/model.keras", "Format-Serving/history.json"], ["Format-Serving/model.keras"]),
    (["best.h5", "last.keras"], ["last.keras", "best.h5"]),
    (["ckpt.index", "ckpt.data-00000-of-00001"], ["ckpt.index"]),
    (["saved_model.pb"], [""]),
    (["notes.txt"], [""]),  # named all the same: its report says that it is no checkpoint
])  # fmt: skip
def test_model_artifact_is_searched_for_checkpoints(tree: Tree, tmp_path: Path, there: list[str], found: list[str]) -> None:
    for name in there:
        tree(f"model/{name}")
    job = assemble(Inputs(models=(str(tmp_path / "model"),)))
    assert [entry.checkpoints.rstrip("/") for entry in job.models] == [str(tmp_path / "model" / at).rstrip("/") for at in found]


def test_entry_without_checkpoints_is_the_pattern_for_all_that_come(tree: Tree, tmp_path: Path) -> None:
    job = {"models": [{"checkpoints": "own.keras"}, {"metadata": {"team": "a"}}], "samples": {"rows": {"label": "y"}}}
    tree("1/a.keras"), tree("2/b.keras"), tree("rows/Split-eval/")
    inputs = Inputs(models=(str(tmp_path / "1"), str(tmp_path / "2")), examples=(str(tmp_path / "rows"),), schema="/schema")
    made = assemble(inputs, job=json.dumps(job), checkpoints="/more/*.h5")
    named = [(Path(entry.checkpoints).name, dict(entry.metadata), entry.samples) for entry in made.models]
    team = {"team": "a"}
    assert named == [("own.keras", {}, "rows"), ("*.h5", team, "rows"), ("a.keras", team, "rows"), ("b.keras", team, "rows")]
    rows = made.samples["rows"]
    assert (rows.path, rows.label, rows.schema_file) == (f"{tmp_path}/rows/Split-eval/*", "y", "/schema/schema.pbtxt")


@pytest.mark.parametrize(("declared", "folders", "asked", "chosen"), [
    ((), ["train", "eval"], None, "eval"),
    ((), ["all"], None, "all"),
    (("train", "eval"), [], "train", "train"),
    (("train", "test"), [], "test", "test"),
])  # fmt: skip
def test_split(tree: Tree, tmp_path: Path, declared: tuple[str, ...], folders: list[str], asked: str | None, chosen: str) -> None:
    for name in folders:
        tree(f"rows/Split-{name}/")
    made = assemble(Inputs(examples=(str(tmp_path / "rows"),), split_names=declared), checkpoints="/a.keras", split=asked)
    assert made.samples["examples"].path == f"{tmp_path}/rows/Split-{chosen}/*"


def test_job_file_keeps_its_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("models: [{checkpoints: 'a/*.keras'}]\nvariants: [int8]\n")
    job = assemble(Inputs(), job=str(tmp_path / "job.yaml"))
    assert job.models[0].checkpoints == f"{tmp_path}/a/*.keras"
    assert [variant.value for variant in job.variants] == ["int8"]


TWO_OPEN = '{"models": [{}, {"metadata": {}}]}'
REFUSED = [
    # inputs, parameters, a part of the message
    (Inputs(), {}, "nothing to export"),
    (Inputs(), {"checkpoints": "/a", "split": "eval"}, "no Examples are connected"),
    (Inputs(examples=("/nowhere",)), {"checkpoints": "/a"}, "no Split-* folder"),
    (Inputs(examples=("/x",), split_names=("train", "test")), {"checkpoints": "/a"}, "no split 'eval' (splits: train, test)"),
    (Inputs(examples=("/x", "/y"), split_names=("eval",)), {"checkpoints": "/a"}, "2 Examples artifacts"),
    (Inputs(), {"checkpoints": "/a", "job": TWO_OPEN}, "2 entries without `checkpoints`"),
    (Inputs(), {"checkpoints": "/a", "job": '{"models": [{"checkpoints": "/b"}]}'}, "0 entries without `checkpoints`"),
    (Inputs(), {"job": '{"models": [{"metadata": {}}]}'}, "models[0].checkpoints"),
    (Inputs(), {"job": '{"models": '}, "begins as JSON does"),
    (Inputs(), {"job": '{"models": 3}', "checkpoints": "/a"}, "models: "),
    (Inputs(), {"job": '{"models": ["/b"]}', "checkpoints": "/a"}, "models[0]: "),
    (Inputs(examples=("/x",)), {"job": '{"samples": {"rows": 3}}', "checkpoints": "/a"}, "samples.rows: "),
    (Inputs(), {"job": "/no/such/job.yaml"}, "does not exist"),
    (Inputs(), {"checkpoints": "/a", "job": '{"varaints": []}'}, "varaints"),
]


@pytest.mark.parametrize(("inputs", "parameters", "message"), REFUSED)
def test_what_does_not_fit_together_is_refused(inputs: Inputs, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(JobError) as refused:
        assemble(inputs, **parameters)
    assert message in str(refused.value)


def test_fingerprint_follows_content_not_names(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"one")

    def found(job: str | None = None) -> str:
        return assembly.fingerprint(assemble(Inputs(), checkpoints=f"{tmp_path}/*.keras", job=job), str(tmp_path / "out"))

    first = found()
    (tmp_path / "a.keras").touch()
    assert found() == first, "only the time of the file has changed"
    assert found('{"variants": ["int8"]}') != first
    assert found('{"limits": {"seconds_per_model": 5}}') != first, "a report that says TIMEOUT depends on it"
    (tmp_path / "a.keras").write_bytes(b"two")
    changed = found()
    assert changed != first
    (tmp_path / "b.keras").write_bytes(b"two")
    assert found() != changed, "one more checkpoint"


def test_what_cannot_be_read_is_never_taken_for_cached(tmp_path: Path) -> None:
    (tmp_path / "a.keras").symlink_to(tmp_path / "gone")
    job = assemble(Inputs(), checkpoints=f"{tmp_path}/a.keras")
    assert assembly.fingerprint(job, "/out") != assembly.fingerprint(job, "/out")


def model(name: str, status: str = "blessed", **variants: str) -> dict[str, Any]:
    artifacts = {of: {"status": said, "path": f"models/{name}/tflite/{of}.tflite"} for of, said in variants.items()}
    path = {"path": f"models/{name}/saved_model/3"}
    return {"model_id": name, "status": status, "saved_model": path if status != "failed" else None, "variants": artifacts}


@pytest.mark.parametrize(("statuses", "is_blessed"), [
    (["blessed"], True),
    (["blessed", "blessed"], True),
    (["blessed", "not_blessed"], False),
    (["failed"], False),
    (["Blessed"], False),
    ([], False),  # nothing was proven
])  # fmt: skip
def test_verdict(statuses: list[str], is_blessed: bool) -> None:
    facts = {"models": [model("m", status) for status in statuses]}
    verdict = outputs.verdict_of(facts, status=0 if is_blessed else 1)
    assert verdict.is_blessed is is_blessed
    assert verdict.marker == ("BLESSED" if is_blessed else "NOT_BLESSED")


@pytest.mark.parametrize(("statuses", "status"), [(["blessed"], 1), (["failed"], 0), ([], 0)])
def test_verdict_that_the_exit_status_denies_is_none(statuses: list[str], status: int) -> None:
    """A checkpoint without a report: every model that is there is blessed, and the run says 1."""
    with pytest.raises(LiteFerryError, match="the fleet is not whole"):
        outputs.verdict_of({"models": [model("m", each) for each in statuses]}, status=status)


def test_one_model_goes_where_pusher_looks_and_many_where_serving_does() -> None:
    assert outputs.saved_models({"models": [model("a")]}, "/t") == [("models/a/saved_model/3", "/t/Format-Serving")]
    many = {"models": [model("a"), model("b", "not_blessed"), model("c", "failed"), model("d")]}
    assert outputs.saved_models(many, "/t") == [("models/a/saved_model/3", "/t/a/3"), ("models/d/saved_model/3", "/t/d/3")]
    assert outputs.saved_models({"models": [model("a", "not_blessed")]}, "/t") == []


def test_only_blessed_variants_of_blessed_models_leave() -> None:
    facts = {"models": [model("a", float32="blessed", int8="not_blessed"), model("b", "not_blessed", float32="blessed")]}
    assert outputs.variants(facts) == [("a", "models/a/tflite/float32.tflite")]


def test_reports_leave_without_artifacts_and_without_what_an_earlier_job_left(tree: Tree, tmp_path: Path) -> None:
    for name in ("fleet.json", "index.html", "assets/app.js", ".staging/lock", "models/old/report.json", "models/a/report.json"):
        tree(name)
    tree("models/a/evaluation/plots"), tree("models/a/saved_model/1/saved_model.pb"), tree("models/a/tflite/float32.tflite")
    (tmp_path / "fleet.json").write_text("{}")
    facts = {"models": [model("a", "not_blessed")]}
    target = tmp_path / "artifacts"
    outputs.fill(facts, str(tmp_path), exported_models=f"{target}/e", tflite_models=f"{target}/t", reports=f"{target}/r")
    left = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert left == {
        "r/fleet.json", "r/index.html", "r/assets/app.js", "r/models/a/report.json", "r/models/a/evaluation/plots"
    }  # fmt: skip
    assert (target / "r" / "fleet.json").read_text() == "{}"


@pytest.mark.parametrize(("run_on", "artifacts_on"), [("disk", "store"), ("store", "disk"), ("store", "store")])
def test_run_and_artifacts_may_be_on_different_stores(tmp_path: Path, run_on: str, artifacts_on: str) -> None:
    places = {"disk": str(tmp_path), "store": f"memory://{uuid.uuid4().hex}"}
    out, target = f"{places[run_on]}/out", f"{places[artifacts_on]}/artifacts"
    written = {"saved_model/3/saved_model.pb": "graph", "saved_model/3/variables/variables.index": "weights"}
    for name, text in {**written, "tflite/int8.tflite": "int8", "report.json": "{}", "BLESSED": ""}.items():
        storage.write_bytes(f"{out}/models/a/{name}", text.encode())
    facts = {"models": [model("a", int8="blessed")]}
    outputs.fill(facts, out, exported_models=f"{target}/e", tflite_models=f"{target}/t", reports=f"{target}/r")
    copied = {"e/Format-Serving/saved_model.pb": b"graph", "e/Format-Serving/variables/variables.index": b"weights"}
    copied |= {"t/a/int8.tflite": b"int8", "r/models/a/report.json": b"{}", "r/models/a/BLESSED": b""}
    assert {name: storage.read_bytes(f"{target}/{name}") for name in storage.files_under(target)} == copied


def test_an_artifact_that_is_gone_is_no_silent_gap(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        outputs.fill({"models": [model("a")]}, str(tmp_path), exported_models="/e", tflite_models="/t", reports="/r")


def test_without_tfx_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['tfx'] = None; import liteferry.tfx; liteferry.tfx.LiteFerry"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "ImportError: liteferry.tfx.LiteFerry needs TFX: pip install 'liteferry[tfx]'" in said.stderr
