"""An output folder that somebody else has made: nothing below it is written or read through a link, names stay inside, and
what is run again is looked over first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry import sandbox
from liteferry.commands import show
from liteferry.commands.compare.compare import compare
from liteferry.commands.inspect.contained import inspect
from liteferry.commands.kit.write import RowsTask, answer_rows
from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.verify import _run_again, verify
from liteferry.config.job import SamplesSpec
from liteferry.errors import ModelError, ReasonCode, StorageError
from liteferry.evaluation.artifact_scan import NOTHING_ALLOWED, refuse_unsafe_tflite
from liteferry.output import manifest
from liteferry.output.model_folder import scan, vouch_for
from liteferry.report.fleet import fleet_facts, write_fleet
from liteferry.sandbox import Flavor, Limits, SandboxSpec, arrays_file
from liteferry.sandbox.confine import SWITCH
from liteferry.storage import beneath
from liteferry.types import Signature
from liteferry.version import REPORT_SCHEMA_VERSION
from tests.support import liteferry
from tests.support.units import run_unit

SECRET = "SECRET-of-the-test"


def write_model(out: Path, model_id: str = "model", **changes: Any) -> Path:
    """A published model as `verify` takes it: whatever files are there already are vouched for."""
    folder = out / "models" / model_id
    folder.mkdir(parents=True, exist_ok=True)
    stats = {"example_count": 1, "nonfinite_mismatch": 0, "max_abs": 0.0, "mismatch_count": 0}
    report = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "model_id": model_id,
        "status": "blessed",
        "reason": None,
        "required_variants": [],
        "recommended_variant": None,
        "samples": {"row_count": 1},
        "saved_model": {
            "status": "blessed",
            "path": "saved_model/1",
            "signatures": {"serving_default": {"inputs": [], "outputs": [{"name": "y"}]}},
            "fidelity": {"y": stats},
            "gates": [{"metric": "max_abs", "output": "y", "limit": 1.0, "observed": 0.0}],
        },
        "variants": {},
        "files": manifest.files_of(str(folder)),
        **changes,
    }
    text = json.dumps(report).encode()
    (folder / "report.json").write_bytes(text)
    (folder / "BLESSED").write_bytes(vouch_for(text))
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "kept").write_text("as it was")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    write_model(folder)
    return folder


def is_untouched(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir()) == ["kept"] and (folder / "kept").read_text() == "as it was"


@pytest.mark.parametrize("name", ["assets", ".staging", ".history", "models"])
@pytest.mark.parametrize("command", ["report", "show", "verify"])
def test_no_command_follows_a_link_in_place_of_a_folder_of_its_own(out: Path, elsewhere: Path, name: str, command: str) -> None:
    if name == "models":
        (out / "models").rename(elsewhere.parent / "moved")
    (out / name).symlink_to(elsewhere)
    commands: dict[str, Callable[[], Any]] = {
        "report": lambda: rebuild_pages(str(out)),
        "show": lambda: show.read_progress(str(out)),
        "verify": lambda: show.refuse_while_running(str(out)),
    }
    with pytest.raises(StorageError, match=r"is a link to .*: below an output folder nothing is read or written through a link"):
        commands[command]()
    assert is_untouched(elsewhere)


def test_a_run_does_not_clear_what_a_link_leads_to(out: Path, elsewhere: Path, tmp_path: Path) -> None:
    (out / ".staging").symlink_to(elsewhere)
    (tmp_path / "x.keras").write_bytes(b"no checkpoint")
    said = liteferry("run", "--checkpoints", tmp_path / "x.keras", "--output", out)
    assert said.returncode == 1
    assert "is a link to" in said.stderr
    assert is_untouched(elsewhere)


def test_an_output_folder_that_is_a_link_itself_is_what_its_user_names(out: Path, tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(out)
    assert rebuild_pages(str(tmp_path / "named")) == 1
    assert (out / "index.html").exists() and (out / "assets").is_dir()


@pytest.mark.parametrize("name", ["index.html", "fleet.json", "fleet.parquet", "models/model/report.html"])
def test_a_link_in_place_of_a_file_is_replaced_and_what_it_leads_to_is_not(out: Path, elsewhere: Path, name: str) -> None:
    (out / name).symlink_to(elsewhere / "kept")
    rebuild_pages(str(out))
    assert not (out / name).is_symlink()
    assert is_untouched(elsewhere)


def test_links_below_the_assets_are_not_written_through(out: Path, elsewhere: Path) -> None:
    rebuild_pages(str(out))
    asset = next((out / "assets").iterdir())
    asset.unlink()
    asset.symlink_to(elsewhere / "kept")
    rebuild_pages(str(out))
    assert is_untouched(elsewhere)


def test_a_model_whose_folder_or_report_is_a_link_has_none(out: Path, elsewhere: Path, tmp_path: Path) -> None:
    real = write_model(tmp_path / "other", "linked")
    (out / "models" / "linked").symlink_to(real)
    inner = out / "models" / "inner"
    inner.mkdir()
    for name in ("report.json", "BLESSED"):
        (inner / name).symlink_to(real / name)
    assert rebuild_pages(str(out)) == 1
    assert scan(str(out / "models" / "linked")).published_report() == scan(str(inner)).published_report() == {}
    assert not (real / "report.html").exists()
    problems = dict(verify(str(out), processes=1, with_rows=False).problems)
    assert "its folder is a link to" in problems["linked"]
    assert "report.json is missing" in problems["inner"]


def test_a_pipe_in_place_of_a_report_is_not_waited_for(out: Path) -> None:
    report = out / "models" / "model" / "report.json"
    report.unlink()
    os.mkfifo(report)
    assert scan(str(report.parent)).raw_report() == {}
    with pytest.raises(StorageError, match="no file but a pipe"):
        beneath.read_bytes(str(out), "models/model/report.json")


def test_what_is_larger_than_any_report_is_not_read(out: Path) -> None:
    (out / "fleet.json").write_bytes(b"[" * 1000)
    with pytest.raises(StorageError, match="more than 999 bytes"):
        beneath.read_bytes(str(out), "fleet.json", most_bytes=999)


@pytest.mark.parametrize(
    "path", ["../../../secret", "/etc/passwd", "saved_model/../../../secret", "a//b", "", "a\\..\\b", 7, None]
)
def test_names_lead_nowhere_else(path: Any) -> None:
    assert not beneath.is_inside(path)
    assert beneath.is_inside("saved_model/1")


def test_a_path_out_of_the_folder_is_a_problem_and_is_not_opened(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "secret").write_text(SECRET)
    folder = write_model(out)
    report = json.loads((folder / "report.json").read_text())
    write_model(out, saved_model={**report["saved_model"], "path": "../../../secret"})
    found = verify(str(out), processes=1)
    problems = [sentence for model_id, sentence in found.problems if model_id]
    assert "saved_model is listed at '../../../secret', which is not inside the model's folder" in problems
    assert found.artifact_count == 0


def test_a_link_among_the_artifacts_is_a_problem(out: Path, elsewhere: Path) -> None:
    (out / "models" / "model" / "tflite").symlink_to(elsewhere)
    problems = [sentence for model_id, sentence in verify(str(out), processes=1).problems if model_id]
    assert any("is a link to" in sentence for sentence in problems), problems


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose graphs write a marker when they are called, or answer with a secret; both lie in `canary` beside them."""
    made = {}
    for does in ("write", "read"):
        folder = tmp_path_factory.mktemp(does)
        (folder / "canary").mkdir()
        (folder / "canary" / "secret").write_text(SECRET)
        saved_model = folder / "out" / "models" / "model" / "saved_model" / "1"
        saved_model.mkdir(parents=True)
        outcome = run_unit(
            "tests.sandbox.reading_units:save_canary",
            (str(saved_model), str(folder / "canary"), does),
            flavor=Flavor.CLEAN,
            limits=Limits(seconds=120, memory_bytes=8 * 10**9),
            writable=[str(saved_model)],
        )
        assert outcome.error is None, outcome.error
        made[does] = folder
    return made


def verified(model: Path, rows: Path) -> str:
    report = json.loads((write_model(model.parent.parent) / "report.json").read_text())
    return str(_run_again(str(model), report, NOTHING_ALLOWED)[1])  # as for a report that all else agrees with


def compared(model: Path, rows: Path) -> str:
    saved_model = str(model / "saved_model" / "1")
    with pytest.raises(ModelError) as refused:
        compare(saved_model, saved_model, SamplesSpec(path=str(rows)))
    assert refused.value.reason.code is ReasonCode.LOAD_UNSAFE
    return refused.value.reason.message


def kitted(model: Path, rows: Path) -> str:
    folder = str(rows.parent)
    arrays_file.write(f"{folder}/inputs.npz", {"x": np.ones(4, np.float32)})
    task = RowsTask(
        plan=None,
        signature=Signature(inputs=(), outputs=()),
        renamed={},
        wanted={},
        saved_model=str(model / "saved_model" / "1"),
        per_call=(),
        folder=folder,
        allowed=NOTHING_ALLOWED,
    )
    limits = Limits(seconds=120, memory_bytes=8 * 10**9)
    spec = SandboxSpec(flavor=Flavor.CLEAN, limits=limits, writable=[folder], readable=[str(model)])
    return str(sandbox.run(answer_rows, task, spec).error)


def inspected(model: Path, rows: Path) -> str:
    return json.dumps(inspect(str(model / "saved_model" / "1")))


@pytest.mark.parametrize("is_confined", [True, False], ids=["confined", "by the scan alone"])
def test_graphs_of_a_strangers_folder_are_looked_over_before_they_run(
    canaries: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_confined: bool
) -> None:
    np.savez(tmp_path / "rows.npz", x=np.ones(4, np.float32))
    if not is_confined:
        monkeypatch.setenv(SWITCH, str(Path(__file__).parent.parent / "unconfined.marker"))
        sandbox.close()  # the next process takes the environment of now
    for does, folder in canaries.items():
        for command in (verified, compared, kitted, inspected):
            said = command(folder / "out" / "models" / "model", tmp_path / "rows.npz")
            assert ("WriteFile" if does == "write" else "ReadFile") in said, (command, said)
            assert command is inspected or "Nothing was run" in said
            assert SECRET not in said
            assert [path.name for path in (folder / "canary").iterdir()] == ["secret"], command
    if not is_confined:
        sandbox.close()


def of_tensorflow(code: str, operation: str, **functions: str) -> bytes:
    """A .tflite file with one operator of TensorFlow's: its code, and what its options tell the delegate to run."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import flexbuffers

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    node = field(1, b"n") + field(2, operation.encode())
    for name, function in functions.items():
        node += field(5, field(1, name.encode()) + field(2, field(10, field(1, function.encode()))))
    options = flexbuffers.Builder()
    with options.Vector():
        options.String(operation)
        options.String(node.decode())
    model, custom, subgraph, operator = (
        schema.ModelT(),
        schema.OperatorCodeT(),
        schema.SubGraphT(),
        schema.OperatorT(),
    )
    custom.customCode, custom.builtinCode = f"Flex{code}", schema.BuiltinOperator.CUSTOM
    custom.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    operator.opcodeIndex, operator.inputs, operator.outputs, operator.customOptions = 0, [], [], list(options.Finish())
    subgraph.tensors, subgraph.inputs, subgraph.outputs, subgraph.operators = [], [], [], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [custom], [subgraph], []
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_an_operator_of_tensorflow_is_judged_by_what_its_options_run() -> None:
    refuse_unsafe_tflite("plain.tflite", of_tensorflow("Erfinv", "Erfinv"))
    hostile = {
        "WriteFile": of_tensorflow("Erfinv", "WriteFile"),
        "ReadFile": of_tensorflow("ReadFile", "Erfinv"),
        "PrintV2": of_tensorflow("Print", "PrintV2"),
        "?": of_tensorflow("PartitionedCall", "PartitionedCall", f="evil"),
    }
    for operation, content in hostile.items():
        with pytest.raises(ModelError, match=re.escape(f"TensorFlow's operation {operation}")) as refused:
            refuse_unsafe_tflite("hostile.tflite", content)
        assert refused.value.reason.code is ReasonCode.LOAD_UNSAFE


def test_a_tflite_file_whose_weights_lie_elsewhere_is_refused() -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, group = schema.ModelT(), schema.ExternalBufferGroupT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [], [], []
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    refuse_unsafe_tflite("plain.tflite", bytes(builder.Output()))
    group.name = "../../secret.txt"
    model.externalBufferGroups = [group]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ModelError, match=r"its weights lie in another file, '\.\./\.\./secret\.txt'"):
        refuse_unsafe_tflite("evil.tflite", bytes(builder.Output()))


HOSTILE_VALUES: tuple[Any, ...] = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;owned\x07",
    10**400,
    -1e308,
    True,
    [],
    {"<b>": ["<b>"]},
    "w" * 2**20,
    "\ud800",
    None,
)


@pytest.mark.parametrize(
    "value", HOSTILE_VALUES, ids=[str(type(value).__name__) + str(n) for n, value in enumerate(HOSTILE_VALUES)]
)
def test_pages_take_any_value_anywhere_and_show_it_as_text(tmp_path: Path, value: Any) -> None:
    keys = (
        "samples",
        "saved_model",
        "variants",
        "reason",
        "limits",
        "timings_s",
        "environment",
        "checkpoint",
        "metadata",
        "version",
    )
    for number, key in enumerate(keys):
        write_model(tmp_path, f"m{number}", **{key: value})
    write_model(tmp_path, "all", variants={str(value)[:200] or "x": dict.fromkeys(("status", "gates", "parity", "bytes"), value)})
    assert rebuild_pages(str(tmp_path)) == len(keys) + 1
    for page in (tmp_path / "index.html", *(tmp_path / "models").glob("*/report.html")):
        html = page.read_text()
        assert "<script>alert" not in html and "<img src=x" not in html and "\x1b" not in html
        assert "<b>" not in html or value != {"<b>": ["<b>"]}


def test_the_fleets_files_are_written_below_the_folder_alone(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "assets").symlink_to(elsewhere)
    with pytest.raises(StorageError):
        write_fleet(str(tmp_path / "out"), fleet_facts([]))
    assert is_untouched(elsewhere)
