"""The path that a builder gets: the scanned copy under the checkpoint's own names, beside what the job lists under `reads`."""

from __future__ import annotations

import os
import pathlib

import pytest

from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode
from liteferry.loading import as_found, built, user_code
from liteferry.loading.model import LoadSpec


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / "scratch" / "model.weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"scanned")
    return str(path)


@pytest.fixture
def package(tmp_path):
    """A package of models, as its maker lays it out: the checkpoint lies among other checkpoints and the code."""
    for name in ("package/code.py", "package/tiny/config.json", "package/tiny/w.h5", "package/large/w.h5", "elsewhere/code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"original {name}", encoding="utf-8")
    return tmp_path


def _facts(found_at, kind=Kind.H5_WEIGHTS):
    return CheckpointFacts(kind=kind, found_at=str(found_at))


def _present(place):
    """All files that a builder can reach from the folders above its checkpoint, by their original paths."""
    root = str(place)
    while os.path.basename(os.path.dirname(root)) and not os.path.basename(root).startswith("liteferry-checkpoint-"):
        root = os.path.dirname(root)
    return {
        os.path.join(folder, name).removeprefix(root) for folder, _, names in os.walk(root, followlinks=True) for name in names
    }


@pytest.mark.parametrize(
    "found_at", ["/data/crepe_tiny/weights.h5", "s3://bucket/crepe_tiny/weights.h5", "gs://bucket/a/../crepe_tiny/weights.h5"]
)
def test_the_names_above_a_checkpoint_are_kept(copy, found_at):
    place = pathlib.Path(as_found.linked(copy, _facts(found_at), reads=()))
    assert (place.parent.name, place.name, place.read_bytes()) == ("crepe_tiny", "weights.h5", b"scanned")
    assert place.resolve().parent.name == "crepe_tiny", "a builder that resolves links loses the names"


def test_a_tensorflow_checkpoint_named_by_its_folder_stays_a_folder(copy):
    place = as_found.linked(copy, _facts("/runs/7/ckpt", Kind.TF_CHECKPOINT), reads=())
    assert place.endswith("/runs/7/ckpt") and os.listdir(place) == ["model.weights.h5"]


def test_a_tensorflow_checkpoint_named_by_its_index_has_its_scanned_shards(copy, package):
    shard = package / "package/tiny/w.data-00000-of-00001"
    shard.write_text("original", encoding="utf-8")
    index = pathlib.Path(copy).with_name("any.index")
    for name in ("any.index", "any.data-00000-of-00001"):
        index.with_name(name).write_bytes(b"scanned")
    facts = _facts(package / "package/tiny/w.index", Kind.TF_CHECKPOINT)
    place = pathlib.Path(as_found.linked(str(index), facts, reads=[str(package)]))
    assert [place.with_name(name).read_bytes() for name in ("w.index", shard.name)] == [b"scanned"] * 2


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([], set()),
        (["package"], {"package/code.py", "package/tiny/config.json", "package/large/w.h5"}),
        (["package/tiny"], {"package/tiny/config.json"}),
        (["package/tiny/config.json"], {"package/tiny/config.json"}),
        (["package/code.py", "elsewhere"], {"package/code.py", "elsewhere/code.py"}),
        (["package", "package/tiny", "package/code.py"], {"package/code.py", "package/tiny/config.json", "package/large/w.h5"}),
        (["gone"], set()),
        (["package/tiny/w.h5"], set()),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else "",
)
def test_what_the_job_lists_is_there_and_nothing_else(copy, package, reads, expected):
    checkpoint = package / "package/tiny/w.h5"
    place = pathlib.Path(as_found.linked(copy, _facts(checkpoint), reads=[str(package / name) for name in reads]))
    assert place.read_bytes() == b"scanned", "the original lies where the scanned copy belongs"
    assert _present(place) == {str(checkpoint), *(str(package / name) for name in expected)}


def test_a_missing_file_beside_the_checkpoint_is_told_with_the_key(copy, package, tmp_path):
    module = tmp_path / "opens_beside.py"
    module.write_text(
        "import os\ndef build(checkpoint): open(os.path.join(os.path.dirname(checkpoint), 'units.txt'))\n", encoding="utf-8"
    )
    user_code.import_module(str(module))
    spec = LoadSpec(modules=(str(module),), builder="opens_beside:build")
    with pytest.raises(ModelError) as caught:
        built.build_and_fill(copy, _facts(package / "package/tiny/w.h5"), spec, sample_columns=())
    assert caught.value.reason.code is ReasonCode.LOAD_FAILED
    said = caught.value.reason.message
    assert f"{package}/package/tiny/units.txt" in said and "`reads:`" in said
    assert "liteferry-checkpoint-" not in said, "a scratch folder's name tells a user nothing"
