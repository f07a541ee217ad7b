"""Hostile files and names, each with the answer that it must get: bombs, places outside, names that are more than names.

What loaders are asked to run is in `test_trust.py`, what patterns name in `test_discovery.py`, escaping in `tests/report`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liteferry.commands.inspect import contained
from liteferry.sandbox import Flavor, Limits
from tests.campaigns.fuzz import campaign, inputs, table
from tests.support import liteferry
from tests.support.units import run_unit

KINDS = sorted({case.kind for case in table.TABLE.values()})


@pytest.mark.parametrize("kind", KINDS)
def test_each_gets_its_answer_and_takes_nothing(kind: str) -> None:
    """Read in the fuzzer's worker: below a gigabyte, at once, and nothing outside its folder is touched."""
    names = table.cases(kind)
    tally = campaign.read_many(kind, inputs.TABLE, range(len(names)))
    assert not tally.findings, "\n\n".join(f"{names[finding.number]}: {finding.what}" for finding in tally.findings)
    assert {names[number]: word for number, word in tally.answers.items()} == {name: table.TABLE[name].answer for name in names}


def test_a_dictionary_of_gigabytes_in_parquet_ends_its_sandbox_alone(tmp_path: Path) -> None:
    """Four words of 300 MB, for 64 rows: some kilobytes of file. What it is about is seen by no header."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array(["a" * (300 * 2**20)]))
    pq.write_table(pa.table({"x": words}), tmp_path / "rows.parquet", compression="zstd")
    assert (tmp_path / "rows.parquet").stat().st_size < 2**20
    limits = Limits(seconds=120, memory_bytes=2 * 10**9)
    rows = str(tmp_path / "rows.parquet")
    outcome = run_unit("tests.sandbox.reader_units:read_rows", rows, flavor=Flavor.CLEAN, limits=limits, readable=[rows])
    assert outcome.error is not None
    assert outcome.error.code in ("OUT_OF_MEMORY", "SAMPLES_MISMATCH"), outcome.error


def kept_samples(name: str, folder: Path) -> str:
    return inputs.make("samples", inputs.KEPT, inputs.kept("samples").index(name)).write(folder)


def test_a_sample_file_that_crashes_its_parser_ends_a_sandbox_alone(tmp_path: Path) -> None:
    """Arrow ends with a segmentation fault when it reads these rows."""
    rows = kept_samples("arrow_that_ends_the_process", tmp_path)
    limits = Limits(seconds=60, memory_bytes=4 * 10**9)
    outcome = run_unit("tests.sandbox.reader_units:read_rows", rows, flavor=Flavor.CLEAN, limits=limits, readable=[rows])
    assert outcome.error is not None
    assert outcome.error.code in ("CRASHED", "SAMPLES_MISMATCH"), outcome.error


@pytest.mark.parametrize("name", ["arrow_that_asks_for_petabytes", "npz_header_that_is_no_expression"])
def test_a_sample_file_that_nothing_reads_is_one_message(tmp_path: Path, name: str) -> None:
    rows = kept_samples(name, tmp_path)
    (tmp_path / "a.keras").write_bytes(b"no checkpoint")
    said = liteferry("check", "--checkpoints", tmp_path / "a.keras", "--samples", rows)
    assert said.returncode == 1, said
    assert "Traceback" not in said.stderr
    assert rows in said.stdout


NAMES = ("a\nb.keras", "\x1b[31mred.keras", "\u202egnp.keras", "<b>.keras", "x" * 240 + ".keras", "A.keras", "a.keras")


def test_names_of_files_are_no_more_than_names_on_the_terminal(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"no checkpoint")
    deep = tmp_path / ("d" * 150) / ("e" * 150)
    deep.mkdir(parents=True)
    (deep / "model.keras").write_bytes(b"no checkpoint")
    said = liteferry("check", "--checkpoints", f"{tmp_path}/**/*.keras")
    assert said.returncode == 1, said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == 2 * (len(NAMES) + 1) + 1  # what is wrong with each stands below it
    assert not any(character in said.stdout for character in "\x1b\u202e\r\x07")
    told = json.loads(liteferry("check", "--json", "--checkpoints", f"{tmp_path}/**/*.keras").stdout)
    ids = [model["model_id"] for model in told["models"]]
    assert len({model_id.casefold() for model_id in ids}) == len(NAMES) + 1
    assert {model["kind"] for model in told["models"]} == {"LOAD_CORRUPT"}


def test_check_looks_at_checkpoints_in_a_process_that_may_die(hostile: Path, tmp_path: Path) -> None:
    """One that ends its reader costs itself: the others have their kinds."""
    paths = [str(hostile / "zip_bomb" / "model.zip"), str(hostile / "h5_link_to_another_file" / "model.h5"), str(tmp_path)]
    every = [*paths, str(tmp_path / "gone")]
    assert [found["kind"] for found in contained.outlines(every, [False] * len(every))] == [
        "LOAD_UNSAFE",
        "LOAD_UNSAFE",
        "LOAD_UNSUPPORTED",
        "STORAGE_FAILED",
    ]
