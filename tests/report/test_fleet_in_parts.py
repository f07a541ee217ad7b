"""A fleet above the threshold has its rows in parts; everything that reads a fleet says the same of both forms.

The threshold is a few models here, so that the form is seen without thousands of them.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from liteferry.commands import prune, report_pages, ship, show, verify
from liteferry.errors import JobError, StorageError
from liteferry.output import fleet_files
from liteferry.output.fleet_files import FleetRun
from liteferry.report import fleet_facts, history
from liteferry.report.fleet import COLUMNS
from liteferry.report.model_report import fleet_entry
from liteferry.report.parts import dealing, page
from tests.report.test_changes import refuse, report_of

IDS = [f"m{number:02}" for number in range(11)]


@pytest.fixture(autouse=True)
def a_few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "MOST_IN_ONE_FILE", 4)
    monkeypatch.setattr(dealing, "MODELS_IN_A_PART", 3)
    monkeypatch.setattr(page, "MODELS_IN_A_PIECE", 2)


def entry(model_id: str, *, is_blessed: bool = True, digest: str | None = None, **changes: Any) -> dict[str, Any]:
    report = copy.deepcopy(report_of(model_id))
    report["checkpoint"]["digest"] = digest or f"sha256:{model_id}"
    if not is_blessed:
        refuse(report)
    return fleet_entry({**report, **changes})


def fleet(*bad: str, ids: list[str] | None = None) -> list[dict[str, Any]]:
    return [entry(model_id, is_blessed=model_id not in bad) for model_id in ids or IDS]


def facts_of(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "fleet.json").read_text())
    return facts


def test_the_parts_hold_what_one_file_would(tmp_path: Path) -> None:
    entries = fleet("m03", "m10")
    fleet_files.write(reversed(entries), str(tmp_path), "a")
    read, whole = show.read_fleet(str(tmp_path)), fleet_facts(entries)
    assert list(read["models"]) == json.loads(json.dumps(whole["models"]))
    assert list(read["rows"]) == whole["rows"]
    assert {key: read["totals"][key] for key in whole["totals"]} == whole["totals"]
    assert (read["totals"]["held_back"], read["totals"]["warned"]) == (0, 0)
    assert [part["models"] for part in read["parts"]] == [3, 3, 3, 2]
    assert show.status_of(read) == show.status_of(whole) == 1


def test_the_summary_has_neither_models_nor_rows_and_the_table_is_one_data_set(tmp_path: Path) -> None:
    fleet_files.write(fleet("m03"), str(tmp_path), "a")
    facts = facts_of(tmp_path)
    assert facts["schema_version"] == 2 and not {"models", "rows"} & facts.keys()
    assert not (tmp_path / "fleet.parquet").exists()
    table = pq.read_table(tmp_path / "fleet")
    assert sorted(set(table.column("model_id").to_pylist())) == IDS
    assert table.column_names == [*COLUMNS, "held_back", "model_json"]
    (reason,) = facts["reasons"]
    assert (reason["code"], reason["models"]) == ("PARITY_OUT_OF_TOLERANCE", 1)
    assert {one["model_id"] for message in reason["messages"] for one in message["examples"]} == {"m03"}


def test_what_is_held_back_stands_in_its_column(tmp_path: Path) -> None:
    held: dict[str, Any] = {"since": "2026-01-02T03:04:05Z", "reason": None, "kept": {}}
    entries = [*fleet(ids=IDS[1:]), {**entry("m00", is_blessed=False), "held_back": held}]
    fleet_files.write(entries, str(tmp_path), "a")
    rows = pq.read_table(tmp_path / "fleet", columns=["model_id", "held_back"]).to_pylist()
    assert {row["model_id"]: row["held_back"] for row in rows} == {**dict.fromkeys(IDS), "m00": held["since"]}
    assert facts_of(tmp_path)["totals"]["held_back"] == 1


def test_up_to_the_threshold_everything_stays_in_one_file(tmp_path: Path) -> None:
    fleet_files.write(fleet(ids=IDS[:4]), str(tmp_path), "a")
    assert facts_of(tmp_path)["schema_version"] == 1
    assert (tmp_path / "fleet.parquet").is_file() and not (tmp_path / "fleet").exists()


def test_any_order_and_any_repetition_gives_the_same_files(tmp_path: Path) -> None:
    entries = fleet("m05")
    shuffled = random.Random(3).sample(entries * 2, k=2 * len(entries))
    for name, found in (("a", entries), ("b", shuffled)):
        fleet_files.write(found, str(tmp_path / name), "run")
    files = [
        {
            p.name: p.read_bytes()
            for p in (tmp_path / name).rglob("*-*")
            if (p.is_file() and "assets/fleet" in str(p)) or "/fleet/part" in str(p)
        }
        for name in "ab"
    ]
    assert files[0] == files[1] and len(files[0]) > 8


def compared(tmp_path: Path, name: str, *runs: list[dict[str, Any]]) -> Any:
    """`changes` of the last of several runs in one OUT."""
    for number, entries in enumerate(runs):
        fleet_files.write(copy.deepcopy(entries), str(tmp_path / name), f"run-{number}")
    return facts_of(tmp_path / name)["changes"]


def test_changes_are_those_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fleet("m02")
    now = [*fleet("m07", ids=IDS[1:9]), entry("zz", digest="sha256:m00"), entry("aa", digest="sha256:m09"), entry("new")]
    now[3] = copy.deepcopy(now[3])
    now[3]["variants"]["int8"]["contract"] = None
    found = compared(tmp_path, "parts", before, now)
    monkeypatch.setattr(dealing, "MOST_IN_ONE_FILE", 100)
    assert found == compared(tmp_path, "whole", before, now)
    assert [one["model_id"] for one in found["renamed"]] == ["aa", "zz"], "from one part to another"
    assert [one["model_id"] for one in found["gone"]] == ["m10"]
    assert [one["model_id"] for one in found["new"]] == ["new"]
    assert {one["model_id"] for one in found["newly_failing"]} == {"m07"}


def test_the_first_run_has_no_changes_and_the_same_again_has_none(tmp_path: Path) -> None:
    assert compared(tmp_path, "a", fleet()) is None
    assert all(items == [] for items in compared(tmp_path, "b", fleet(), fleet()).values())


@pytest.mark.parametrize("order", [("few", "many", "other"), ("many", "few", "other"), ("other", "many", "few")])
def test_what_is_remembered_survives_every_change_of_form(tmp_path: Path, order: tuple[str, ...]) -> None:
    """A model that left the job and came back is compared with what it was, however the runs between were written."""
    fleets = {"few": fleet(ids=["m00", "m01"]), "many": fleet(), "other": fleet(ids=[f"x{n}" for n in range(7)])}
    runs = [fleet(ids=["m00"]), *(fleets[name] for name in order), fleet("m00", ids=["m00"])]
    found = compared(tmp_path, "out", *runs)
    assert {one["model_id"] for one in found["newly_failing"]} == {"m00"}


def test_a_step_that_a_runner_repeats_says_the_same(tmp_path: Path) -> None:
    out = str(tmp_path)
    fleet_files.write(fleet(), out, "first")
    run = FleetRun(out=out, run_id="second")
    packed = [dealing.pack(one) for one in fleet("m04")]
    once = fleet_files.write_packed(packed, run)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "index.html"}
    again = fleet_files.write_packed(packed, run)
    assert once["changes"] == again["changes"] != None  # noqa: E711
    assert {one["model_id"] for one in again["changes"]["newly_failing"]} == {"m04"}
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.name != "index.html"} == files.keys()


def test_files_of_an_earlier_run_go_and_a_users_own_stay(tmp_path: Path) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    (tmp_path / "fleet" / "notes.txt").write_text("mine")
    before = {path.name for path in (tmp_path / "fleet").iterdir()}
    fleet_files.write(fleet("m01", "m05", "m09"), str(tmp_path), "b")
    named = {part["path"].rpartition("/")[2] for part in facts_of(tmp_path)["parts"]}
    assert {path.name for path in (tmp_path / "fleet").iterdir()} == named | {"notes.txt"}
    assert named != before - {"notes.txt"}
    fleet_files.write(fleet(ids=IDS[:2]), str(tmp_path), "c")
    assert [path.name for path in (tmp_path / "fleet").iterdir()] == ["notes.txt"]
    assert not list((tmp_path / "assets" / "fleet").iterdir())


def damage(out: Path) -> None:
    part = out / facts_of(out)["parts"][1]["path"]
    part.write_bytes(part.read_bytes()[:-1] + b"?")


def swap(out: Path) -> None:
    first, second = (out / part["path"] for part in facts_of(out)["parts"][:2])
    first.write_bytes(second.read_bytes())


@pytest.mark.parametrize("harm", [damage, swap, lambda out: next((out / "fleet").iterdir()).unlink()])
def test_a_part_that_is_not_the_one_that_was_written_is_refused(tmp_path: Path, harm: Any) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    harm(tmp_path)
    with pytest.raises(StorageError, match=r"fleet/part-0000"):
        list(show.read_fleet(str(tmp_path))["models"])


@pytest.mark.parametrize(
    ("key", "value"), [("models", 12), ("blessed", 12), ("failed", -1), ("not_blessed", None), ("models", True)]
)
def test_a_summary_that_contradicts_itself_is_refused(tmp_path: Path, key: str, value: object) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    facts = facts_of(tmp_path)
    facts["totals"][key] = value
    (tmp_path / "fleet.json").write_text(json.dumps(facts))
    with pytest.raises(JobError, match=r"its totals say"):
        show.read_fleet(str(tmp_path))


@pytest.mark.parametrize("path", ["../secret.parquet", "/etc/passwd", "models/m/report.json", "fleet/../../x"])
def test_a_part_is_read_from_its_own_folder_only(tmp_path: Path, path: str) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    facts = facts_of(tmp_path)
    facts["parts"][0]["path"] = path
    (tmp_path / "fleet.json").write_text(json.dumps(facts))
    with pytest.raises(StorageError, match=r"not in fleet/"):
        list(show.read_fleet(str(tmp_path))["models"])


def test_show_prints_counts_and_reasons_and_the_whole_fleet_as_json(tmp_path: Path, capsys: Any) -> None:
    fleet_files.write(fleet("m03"), str(tmp_path), "a")
    facts = show.read_fleet(str(tmp_path))
    show.print_summary(facts)
    printed = capsys.readouterr().out
    assert printed.startswith("10 of 11 models are blessed.") and "PARITY_OUT_OF_TOLERANCE: m03" in printed
    assert "m05" not in printed
    show.print_json(facts)
    told = json.loads(capsys.readouterr().out)
    assert [model["model_id"] for model in told["models"]] == IDS
    assert told["rows"] == json.loads(json.dumps(fleet_facts(fleet("m03"))["rows"]))
    assert told["totals"] == facts["totals"]


def published(out: Path, *bad: str) -> None:
    """Models' folders with nothing but report and marker, as `verify`, `prune` and `report` list them."""
    from liteferry.output import model_folder

    for one in fleet(*bad):
        folder = out / "models" / one["model_id"]
        folder.mkdir(parents=True)
        data = json.dumps({"schema_version": 1, **one}).encode()
        (folder / "report.json").write_bytes(data)
        (folder / model_folder.marker_of(one)).write_bytes(model_folder.vouch_for(data))


def test_prune_ship_and_verify_know_every_model_of_the_parts(tmp_path: Path) -> None:
    published(tmp_path)
    fleet_files.write(fleet("m06"), str(tmp_path), "a")
    assert prune.orphans(str(tmp_path)) == []
    assert set(ship.ship(str(tmp_path), str(tmp_path.parent / "dest"), ship.Order()).silent) == set(IDS)
    told = [why for who, why in verify.verify(str(tmp_path), processes=1, with_rows=False).problems if who is None]
    assert told == ["fleet.json says not_blessed of m06, its own report says blessed"]
    damage(tmp_path)
    told = [why for who, why in verify.verify(str(tmp_path), processes=1, with_rows=False).problems if who is None]
    assert len(told) == 1 and "fleet/part-00001" in told[0] and "sha256" in told[0]


def test_report_writes_the_parts_again_with_what_the_last_run_changed(tmp_path: Path) -> None:
    published(tmp_path, "m02")
    fleet_files.write(fleet(), str(tmp_path), "a")
    fleet_files.write(fleet("m02"), str(tmp_path), "b")
    before, page_before = facts_of(tmp_path), (tmp_path / "index.html").read_bytes()
    (tmp_path / "index.html").unlink()
    assert report_pages.rebuild_pages(str(tmp_path)) == len(IDS)
    assert {**facts_of(tmp_path), "parts": None} == {**before, "parts": None}
    assert (tmp_path / "index.html").read_bytes().count(b"m02") == page_before.count(b"m02")


def test_a_model_that_was_removed_is_forgotten_in_its_part(tmp_path: Path) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    history.forget_models(str(tmp_path), ["m04"])
    assert sorted(history.read(str(tmp_path))["models"]) == [model_id for model_id in IDS if model_id != "m04"]


@pytest.mark.parametrize("spoil", [b"", b"{", b'{"schema_version": 2, "parts": [{"path": "../x"}, 3]}', b'{"schema_version": 2}'])
def test_a_damaged_history_is_a_first_run(tmp_path: Path, spoil: bytes) -> None:
    fleet_files.write(fleet(), str(tmp_path), "a")
    (tmp_path / ".history" / "last_run.json").write_bytes(spoil)
    fleet_files.write(fleet("m01"), str(tmp_path), "b")
    changes = facts_of(tmp_path)["changes"]
    assert changes is None or not changes["newly_failing"]


def test_the_page_names_every_file_that_it_loads_and_no_other_is_there(tmp_path: Path) -> None:
    fleet_files.write(fleet("m03"), str(tmp_path), "a")
    text = (tmp_path / "index.html").read_text()
    block = text.partition('id="fleet-data">')[2].partition("</script>")[0]
    data = json.loads(block)
    names = [name for name, _ in (*data["parts"], *data["pieces"])]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "assets" / "fleet").iterdir())
    assert sum(count for _, count in data["parts"]) == sum(count for _, count in data["pieces"]) == len(data["verdicts"]) == 11
    assert [data["kinds"][ord(letter) - data["letter"]][0] for letter in data["verdicts"]] == [
        "not_blessed" if model_id == "m03" else "blessed" for model_id in IDS
    ]


HOSTILE = '</script><script>alert(1)</script>\u2028"\\'


def test_texts_of_a_report_cannot_leave_the_files_that_the_page_loads(tmp_path: Path) -> None:
    entries = fleet()
    entries[0]["metadata"] = {"note": HOSTILE}
    entries[0]["checkpoint"]["uri"] = f"/{HOSTILE}.keras"
    fleet_files.write(entries, str(tmp_path), "a")
    for path in (tmp_path / "assets" / "fleet").iterdir():
        text = path.read_text()
        assert text.startswith(f'LiteFerry.take("{path.name}",') and text.isascii() and "<" not in text
        json.loads(text.partition(",")[2].removesuffix(");\n"))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 7, 100])
def test_every_id_has_one_part_and_every_part_its_span(count: int) -> None:
    ids = [f"{number:03}" for number in range(count)]
    dealt = dealing.deal(reversed(ids * 2))
    assert dealt.is_large == (count > 4)
    for model_id in [*ids, "", "050x", "~"]:
        assert [n for n in range(dealt.count) if model_id in dealt.span(n)] == [dealt.part_of(model_id)]
