"""Files that are read with a checkpoint and lie beside it: a link in place of one leads no process to somebody else's file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from liteferry.checkpoints import look
from liteferry.checkpoints.links import LinkRule
from liteferry.checkpoints.reach import files_of_checkpoint, leads_out
from liteferry.errors import ModelError, ReasonCode
from tests.campaigns.fuzz.watched_folder import WatchedFolder

WRITTEN_OUT = LinkRule()


def write_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones((2, 2), np.float32))


def architecture_beside(folder: Path, target: Path) -> Path:
    write_weights(folder / "m.weights.h5")
    os.symlink(target, folder / "m.json")
    return folder / "m.weights.h5"


def architecture_by_another_name(folder: Path, target: Path) -> Path:
    write_weights(folder / "m.weights.h5")
    os.symlink(target, folder / "model.json")
    return folder / "m.weights.h5"


def shard(folder: Path, target: Path) -> Path:
    write_weights(folder / "m_00000.weights.h5")
    os.symlink(target, folder / "m_00001.weights.h5")
    shards = ["m_00000.weights.h5", "m_00001.weights.h5"]
    (folder / "m.weights.json").write_text(json.dumps({"weight_map": {"/layers/dense/vars": shards}}))
    return folder / "m.weights.json"


def data_file(folder: Path, target: Path) -> Path:
    (folder / "m.index").write_bytes(bytes(40) + bytes.fromhex("57fb808b247547db"))
    os.symlink(target, folder / "m.data-00000-of-00001")
    return folder / "m.index"


KINDS = (architecture_beside, architecture_by_another_name, shard, data_file)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text('{"class_name": "Sequential", "config": {"name": "SECRET"}}')
    return tmp_path / "elsewhere" / "secret"


@pytest.mark.parametrize("write", KINDS)
def test_a_link_out_of_the_folder_is_neither_followed_nor_lent(
    write: Callable[[Path, Path], Path], secret: Path, tmp_path: Path
) -> None:
    (tmp_path / "ck").mkdir()
    path = str(write(tmp_path / "ck", secret))
    watched = WatchedFolder(secret.parent)
    assert leads_out(path, WRITTEN_OUT)
    assert str(secret) not in files_of_checkpoint(path)
    if not path.endswith(".index"):  # its data is read when its copy is made, which `examine` does
        with pytest.raises(ModelError) as refused:
            look(path)
        assert refused.value.reason.code is ReasonCode.LOAD_UNSAFE
        assert f"is a link to {secret}" in refused.value.reason.message
    assert not watched.events()


@pytest.mark.parametrize("write", KINDS)
def test_a_job_that_trusts_links_follows_them(write: Callable[[Path, Path], Path], secret: Path, tmp_path: Path) -> None:
    (tmp_path / "ck").mkdir()
    path, trusting = str(write(tmp_path / "ck", secret)), LinkRule(trusted=True)
    assert not leads_out(path, trusting)
    assert str(secret) in files_of_checkpoint(path, trusting)


@pytest.mark.parametrize("write", KINDS)
def test_a_link_within_the_folder_is_followed(write: Callable[[Path, Path], Path], tmp_path: Path) -> None:
    (tmp_path / "target").write_text("{}")
    path = str(write(tmp_path, tmp_path / "target"))
    assert not leads_out(path, WRITTEN_OUT)
    assert str(tmp_path / "target") in files_of_checkpoint(path)


def test_a_link_behind_a_link_within_a_cache_is_seen(secret: Path, tmp_path: Path) -> None:
    """A snapshot's folder may be a link to the cache's blobs, where another link leads out."""
    cache = tmp_path / "models--somebody--something"
    snapshot, blobs = cache / "snapshots" / "1", cache / "blobs" / "variables"
    snapshot.mkdir(parents=True)
    blobs.mkdir(parents=True)
    (snapshot / "saved_model.pb").write_bytes(b"x")
    os.symlink(blobs, snapshot / "variables")
    (blobs / "variables.index").write_bytes(b"x")
    assert not leads_out(str(snapshot), WRITTEN_OUT)
    os.symlink(secret, blobs / "variables.data-00000-of-00001")
    watched = WatchedFolder(secret.parent)
    assert leads_out(str(snapshot), WRITTEN_OUT)
    assert not watched.events()
