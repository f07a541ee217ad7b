"""`ship` copies what is blessed, byte for byte what was judged, and nothing else; `prune` removes what has no checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from liteferry import storage
from liteferry.cli import main
from liteferry.commands.prune import orphans, print_prune
from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.ship import Order, ship
from liteferry.errors import JobError, StorageError
from tests.output.test_held_back import newer, publish
from tests.output.test_publish import make_plan

Files = dict[str, dict[str, Any]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """`good` is blessed, `kept` was blessed and is held back, `bad` never was."""
    plan = make_plan(tmp_path / "out")
    good, kept, bad = (dataclasses.replace(plan, model_id=name) for name in ("good", "kept", "bad"))
    publish(good)
    publish(kept)
    publish(newer(kept), difference=0.1)
    publish(bad, difference=0.1)
    rebuild_pages(plan.out)
    return tmp_path / "out"


def manifest(destination: str) -> dict[str, Any]:
    return dict(json.loads(storage.read_bytes(storage.join(destination, "manifest.json"))))


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}


@pytest.mark.parametrize(
    ("order", "files"),
    [
        (Order(), {"good.float32.tflite", "kept.float32.tflite"}),
        (Order(stable_names=True), {"good.tflite", "kept.tflite"}),
        (Order(what="blessed"), {"good.float32.tflite", "kept.float32.tflite"}),
        (
            Order(what="saved_model"),
            {f"{model}/1/{name}" for model in ("good", "kept") for name in ("saved_model.pb", "variables/data")},
        ),
    ],
    ids=lambda value: getattr(value, "what", ""),
)
def test_what_is_blessed_ships_under_its_name_and_with_its_digest(
    out: Path, tmp_path: Path, order: Order, files: set[str]
) -> None:
    shipped = ship(str(out), str(tmp_path / "dest"), order)
    assert there(tmp_path / "dest") == files
    assert shipped.silent == ("bad",)
    told: Files = manifest(str(tmp_path / "dest"))["files"]
    assert set(told) == files
    for name, facts in told.items():
        content = (tmp_path / "dest" / name).read_bytes()
        assert (facts["sha256"], facts["bytes"]) == (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        assert facts["model_id"] in ("good", "kept")


def test_a_server_never_finds_a_saved_model_without_its_variables(out: Path, tmp_path: Path) -> None:
    files = ship(str(out), str(tmp_path / "dest"), Order(what="saved_model")).files
    names = [name for name in files if name.startswith("good/")]
    assert names[-1] == "good/1/saved_model.pb"


def test_on_a_store(out: Path, memory_store: str) -> None:
    ship(str(out), memory_store, Order())
    assert set(storage.sizes_under(memory_store)) == {"good.float32.tflite", "kept.float32.tflite", "manifest.json"}


def test_what_is_there_stays_unless_it_is_pruned_and_was_shipped(out: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "mine.tflite").write_text("somebody's")
    ship(str(out), str(dest), Order())
    ship(str(out), str(dest), Order(stable_names=True))
    assert manifest(str(dest))["left"] == ["good.float32.tflite", "kept.float32.tflite"]
    assert "good.float32.tflite" in there(dest)
    shipped = ship(str(out), str(dest), Order(stable_names=True, prune=True))
    assert shipped.removed == ("good.float32.tflite", "kept.float32.tflite")
    assert there(dest) == {"mine.tflite", "good.tflite", "kept.tflite"}
    ship(str(out), str(dest), Order(what="saved_model", prune=True))
    assert (dest / "mine.tflite").exists()
    assert not (dest / "good.tflite").exists()


def test_folders_that_are_empty_after_pruning_go_and_others_stay(out: Path, tmp_path: Path) -> None:
    """A SavedModel has several folders: the last of them empties the one above."""
    dest = tmp_path / "dest"
    names = ("saved_model.pb", "assets/x", "assets.extra/y", "variables/z")
    earlier = [f"{model}/1/{name}" for model in ("a", "b") for name in names]
    for name in earlier:
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        (dest / name).write_text("of an earlier order")
    (dest / "manifest.json").write_text(json.dumps({"files": {name: {} for name in earlier}}))
    (dest / "b" / "notes.txt").write_text("somebody's")
    shipped = ship(str(out), str(dest), Order(prune=True))
    assert set(shipped.removed) == set(earlier)
    assert there(dest) == {"b/notes.txt", "good.float32.tflite", "kept.float32.tflite"}
    assert [path.name for path in dest.rglob("*") if path.is_dir()] == ["b"]


def test_a_changed_byte_does_not_ship_and_the_old_manifest_stands(out: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "dest")
    ship(str(out), dest, Order())
    before = manifest(dest)
    (out / "models" / "good" / "tflite" / "float32.tflite").write_text("CONTENT")
    with pytest.raises(StorageError, match="other bytes than those that were judged"):
        ship(str(out), str(tmp_path / "elsewhere"), Order())
    assert not (tmp_path / "elsewhere" / "good.float32.tflite").exists()
    with pytest.raises(StorageError):
        ship(str(out), dest, Order(stable_names=True))
    assert manifest(dest) == before


@pytest.mark.parametrize("marker", ["no marker", "the other marker"])
def test_without_its_marker_nothing_ships(out: Path, tmp_path: Path, marker: str) -> None:
    path = out / "models" / "good" / "BLESSED"
    path.unlink() if marker == "no marker" else path.rename(path.with_name("NOT_BLESSED"))
    assert ship(str(out), str(tmp_path / "dest"), Order()).silent == ("bad", "good")


@pytest.mark.parametrize(
    "flags",
    [
        ["--what", "saved_model", "--stable_names"],
        ["--what", "blessed", "--stable_names"],
        ["--what", "everything"],
        ["--what", "blessed", "--target", "phone"],
        ["--target", "phone"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_status_2_and_ships_nothing(
    out: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ship", str(out), str(tmp_path / "dest"), *flags]) == 2
    assert "--" in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()


def test_a_destination_within_the_run_is_refused(out: Path) -> None:
    with pytest.raises(JobError, match="outside"):
        ship(str(out), str(out / "models" / "good"), Order())


def test_the_command_says_what_came_of_it(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ship", str(out), str(tmp_path / "dest")]) == 0
    said = capsys.readouterr().out
    assert "2 models, 2 files" in said
    assert "nothing of bad ships: it has no blessed variant" in said


def test_where_nothing_is_blessed_the_status_is_1(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, difference=0.1)
    rebuild_pages(plan.out)
    assert main(["ship", plan.out, str(tmp_path / "dest")]) == 1


# prune


@pytest.fixture
def pruned(out: Path) -> Path:
    """The run as another left it, whose job does not name `good` and `kept`; only the checkpoint of `kept` is gone."""
    facts = json.loads((out / "fleet.json").read_text())
    facts["models"] = [model for model in facts["models"] if model["model_id"] == "bad"]
    facts["rows"] = [row for row in facts["rows"] if row["model_id"] == "bad"]
    facts["totals"] |= {"models": 1, "blessed": 0, "not_blessed": 1, "failed": 0}
    (out / "fleet.json").write_text(json.dumps(facts))
    path = out / "models" / "kept" / "report.json"
    report = json.loads(path.read_text())
    report["checkpoint"]["uri"] = str(out.parent / "gone.keras")
    path.write_text(json.dumps(report))
    return out


def test_only_models_whose_checkpoint_is_gone_are_removed_and_only_after_a_yes(
    pruned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [orphan.model_id for orphan in orphans(str(pruned))] == ["kept"]
    assert main(["prune", str(pruned)]) == 0
    assert "gone.keras is gone" in capsys.readouterr().out
    assert (pruned / "models" / "kept").exists()
    assert main(["prune", str(pruned), "--yes"]) == 0
    assert sorted(os.listdir(pruned / "models")) == ["bad", "good"]
    assert os.listdir(pruned / "attempts") == []
    assert print_prune(str(pruned), is_agreed=True) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_folder_without_a_report_is_left_alone(pruned: Path) -> None:
    (pruned / "models" / "kept" / "report.json").unlink()
    assert orphans(str(pruned)) == []
