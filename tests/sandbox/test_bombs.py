"""What fills the disk, the log or the launcher's ear ends one unit of work, with a reason of its own; its neighbours go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liteferry.errors import ReasonCode
from liteferry.sandbox import Flavor, Limits, Outcome, disk, supervision
from tests.support.units import run_unit

LIMITS = Limits(seconds=60, memory_bytes=8 * 10**9, disk_bytes=64 * 2**20, files=2000)


def run(unit: str, argument: Any, *, writable: tuple[Path, ...] = ()) -> Outcome:
    folders = [str(folder) for folder in writable]
    return run_unit(
        f"tests.sandbox.reading_units:{unit}", argument, flavor=Flavor.CLEAN, limits=LIMITS, writable=folders, before_retry=None
    )


def test_one_file_does_not_grow_beyond_what_a_model_may_write(tmp_path: Path) -> None:
    outcome = run("write_one_file", str(tmp_path), writable=(tmp_path,))
    assert outcome.error is not None
    assert (tmp_path / "bomb").stat().st_size <= LIMITS.disk_bytes
    assert outcome.error.code == ReasonCode.OUT_OF_DISK.value or "File too large" in outcome.error.message


@pytest.mark.parametrize("unit", ["write_many_large_files", "write_without_a_name"])
def test_what_writes_without_end_is_ended(tmp_path: Path, unit: str) -> None:
    outcome = run(unit, str(tmp_path), writable=(tmp_path,))
    assert outcome.error is not None and outcome.is_out_of_disk, outcome.error
    assert "limits.disk_gb_per_model" in outcome.error.message


def test_a_million_files_are_not_made(tmp_path: Path) -> None:
    outcome = run("write_a_million_files", str(tmp_path), writable=(tmp_path,))
    assert outcome.error is not None and outcome.is_out_of_disk, outcome.error
    assert "more than 2,000 files" in outcome.error.message


def test_a_scratch_folder_counts_too() -> None:
    outcome = run("write_many_large_files", ".")
    assert outcome.is_out_of_disk, outcome.error


def test_a_log_is_cut_and_its_writer_goes_on() -> None:
    """300 MB come out, far more than the file ever holds."""
    outcome = run("fill_the_log", 300)
    assert outcome.error is None, outcome.error
    assert outcome.results[0] < 4 * supervision._MAX_LOG_BYTES


def test_a_link_in_place_of_the_log_is_neither_read_nor_cut(tmp_path: Path) -> None:
    victim = tmp_path / "somebodys"
    victim.write_bytes(b"x" * (2 * supervision._MAX_LOG_BYTES) + b"SECRET")
    outcome = run("swap_the_log", str(victim))
    assert outcome.error is not None and outcome.error.code == ReasonCode.CRASHED.value
    assert "SECRET" not in outcome.error.message
    assert victim.stat().st_size == 2 * supervision._MAX_LOG_BYTES + 6


def test_a_second_try_writes_through_nothing_that_the_first_has_left(tmp_path: Path) -> None:
    victim = tmp_path / "somebodys"
    victim.write_text("as it was")
    outcome = run_unit(
        "tests.sandbox.reading_units:plant_a_request", str(victim), flavor=Flavor.CLEAN, limits=LIMITS, writable=[]
    )
    assert outcome.is_killed
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize("kind", ["ModelError", "an exception with a long name"])
def test_a_message_of_a_megabyte_is_cut(kind: str) -> None:
    outcome = run("say_a_megabyte", kind)
    assert outcome.error is not None
    assert len(outcome.error.message) < 25_000
    assert "characters more)" in outcome.error.message
    assert len(outcome.error.traceback or "") <= 20_000


def test_who_talks_without_end_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_MOST_HEARD_BYTES", 64 * 2**20)
    outcome = run("talk_without_end", None)
    assert outcome.error is not None
    assert outcome.error.code == ReasonCode.CRASHED.value
    assert "more than 67,108,864 bytes of messages" in outcome.error.message
    assert len(outcome.results) <= 64


def test_who_always_has_another_subject_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_MOST_SUBJECTS", 5)
    outcome = run_unit(
        "tests.sandbox.reading_units:always_have_another_subject",
        None,
        flavor=Flavor.CLEAN,
        limits=Limits(seconds=1, memory_bytes=8 * 10**9),
        before_retry=None,
    )
    assert outcome.error is not None and outcome.error.code == ReasonCode.TIMEOUT.value


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_nothing_but_files_is_left_for_others_to_read(tmp_path: Path, kind: str) -> None:
    """What publishes a model reads its folder as the user: a link there would be the way to any file."""
    (tmp_path / "of_before").symlink_to("/nowhere")
    outcome = run("leave", (str(tmp_path), kind), writable=(tmp_path,))
    assert outcome.error is not None
    assert outcome.error.code == ReasonCode.LOAD_UNSAFE.value
    assert f"a {kind}" in outcome.error.message
    assert not (tmp_path / "inner" / "left").is_symlink() and not (tmp_path / "inner" / "left").exists()
    assert (tmp_path / "kept").read_text() == "kept"
    assert (tmp_path / "of_before").is_symlink()


def test_files_alone_are_no_trouble(tmp_path: Path) -> None:
    outcome = run("leave", (str(tmp_path), "nothing"), writable=(tmp_path,))
    assert outcome.error is None, outcome.error


def test_usage_counts_sparse_files_by_what_they_take_and_follows_no_link(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    (tmp_path / "root").symlink_to("/")
    usage = disk.usage_of([str(tmp_path)], pid=None, most_files=100)
    assert usage.files == 2
    assert usage.bytes < 10**6
