"""What stands in place of a sample file and never ends, or leads nowhere: named at once, and not waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from liteferry.config.job import SamplesSpec
from liteferry.errors import SamplesError
from liteferry.samples.opening import open_samples

NAMES = ("a.npz", "a.npy", "a.csv", "a.jsonl", "a.parquet", "a.h5", "a.arrow", "a.tfrecord")


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SamplesError, match="is no file but a pipe"):
        open_samples(SamplesSpec(path=str(tmp_path / name)))


@pytest.mark.parametrize("name", ["a.png", "a.wav", "a.csv"])
def test_a_pipe_in_a_folder(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SamplesError, match=f"{name}: is no file but a pipe"):
        open_samples(SamplesSpec(path=str(tmp_path)))


def test_a_link_to_nothing_in_a_folder_of_images(tmp_path: Path) -> None:
    os.symlink(tmp_path / "gone", tmp_path / "a.png")
    with pytest.raises(SamplesError, match="link to nothing"):
        open_samples(SamplesSpec(path=str(tmp_path)))


@pytest.mark.parametrize("run", [b"..", b".", b"", b"../.."])
def test_a_saved_dataset_names_a_folder_of_its_own(tmp_path: Path, run: bytes) -> None:
    (tmp_path / "other.snapshot").write_bytes(b"")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "dataset_spec.pb").write_bytes(b"")
    (tmp_path / "rows" / "snapshot.metadata").write_bytes(bytes([2 << 3 | 2, len(run)]) + run)
    with pytest.raises(SamplesError, match="names no run with files in it"):
        open_samples(SamplesSpec(path=str(tmp_path / "rows")))
