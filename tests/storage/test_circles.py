"""Folders whose links lead in circles: a search of them, and their digest, end, with what was found or with words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.plan import layouts
from liteferry.plan.discovery import discover
from liteferry.storage import files


@pytest.fixture
def circles(tmp_path: Path) -> Path:
    """Two folders that hold twenty links to each other: paths through them have no end, and forty levels are 20 ** 40 of them."""
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        for number in range(20):
            os.symlink(tmp_path / other, tmp_path / one / f"link{number}")
    (tmp_path / "a" / "m.keras").write_bytes(b"PK")
    return tmp_path


def test_a_link_to_the_folder_it_is_in_is_no_folder_of_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"PK")
    os.symlink(".", tmp_path / "self")
    os.symlink(tmp_path, tmp_path / "again")
    assert [found.uri for found in discover([str(tmp_path)])] == [str(tmp_path / "m.keras")]


def test_a_link_to_a_folder_beside_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "m.keras").write_bytes(b"PK")
    os.symlink("step_1", tmp_path / "latest")
    assert len(discover([str(tmp_path)])) == 2


def test_searching_folders_in_circles_ends(circles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_MOST_BEHIND_LINKS", 500)
    with pytest.raises(StorageError, match="may lead in circles"):
        discover([str(circles)])


def test_a_pattern_across_folders_in_circles_ends(circles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_BEHIND_LINKS", 2000)
    with pytest.raises(StorageError, match="may lead in circles"):
        discover([f"{circles}/**/*.keras"])


def test_a_digest_takes_every_file_behind_circles_once_for_each_way_to_it(circles: Path, tmp_path: Path) -> None:
    names = storage.files_under(str(circles / "a"))
    assert names == ["m.keras"]
    assert len(storage.files_under(str(circles))) == 1 + 20  # in `a`, and through each of the links in `b`
    assert storage.digest(str(circles / "a")).startswith("sha256:")


def test_a_digest_of_ever_more_behind_links_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four folders, each with ten links to the next: ten thousand ways to the last."""
    monkeypatch.setattr(files, "_MOST_BEHIND_LINKS", 500)
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        for link in range(10 * (number < 4)):
            os.symlink(tmp_path / f"{number + 1}", tmp_path / f"{number}" / f"link{link}")
    with pytest.raises(StorageError, match="may lead in circles"):
        storage.digest(str(tmp_path / "0"))
