"""The table of sizes counts what it says: files that are blessed, against an all-int8 file that need not be."""

from __future__ import annotations

from typing import Any

from tests.sizes.__main__ import slices
from tests.sizes.table import PAGE, lines, rows_of, table


def report(model_id: str, **variants: tuple[int | None, str]) -> dict[str, Any]:
    facts = {
        name: {"bytes": size, "status": status, "reason": None if status == "blessed" else {"message": f"{name} is {status}"}}
        for name, (size, status) in variants.items()
    }
    return {"model_id": model_id, "saved_model": {"status": "blessed"}, "variants": facts}


SMALL = report(
    "small", float32=(1000, "blessed"), int8=(300, "not_blessed"), dynamic_int8=(290, "not_blessed"), auto=(320, "blessed")
)
TOLD = report(
    "told", float32=(1000, "blessed"), int8=(None, "failed"), dynamic_int8=(300, "not_blessed"), auto=(900, "not_blessed")
)


def test_a_file_counts_if_it_is_blessed_and_hardly_larger_than_int8() -> None:
    small, told = rows_of([SMALL, TOLD])
    assert (small.all_int8, small.before, small.after) == (300, 1000, 320)
    assert (small.is_small(small.before), small.is_small(small.after)) == (False, True)
    assert (told.all_int8, told.before, told.after) == (300, 1000, 1000), "dynamic_int8 where int8 cannot be made"
    assert told.sentence == "auto is not_blessed"


def test_the_table_adds_up() -> None:
    text = table(rows_of([SMALL, TOLD]))
    assert "| 2 models |" in text
    assert "| 0% | 50% |" in text
    assert "| | 50% |" in text
    assert "| 1.00 | 0.57 |" in text, "the root of 0.32 times 1"


def test_a_model_without_a_blessed_saved_model_is_left_out() -> None:
    assert rows_of([{**SMALL, "saved_model": {"status": "not_blessed"}}]) == []


def test_the_page_has_a_place_for_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.index("<!-- sizes -->") < text.index("<!-- /sizes -->")


def test_a_line_says_what_stands_in_the_way() -> None:
    small, told = lines(rows_of([SMALL, TOLD]))
    assert small == "small: all-int8 0.30 before 1.00 with auto 0.32"
    assert told == "told: all-int8 0.30 before 1.00 with auto 1.00 | auto is not_blessed"


def test_the_fleet_is_cut_into_slices_and_one_model_in_ten_is_trained_for_integers() -> None:
    found = list(slices(60))
    assert sum(len(numbers) for _, numbers in found) == 60
    assert [writer for writer, _ in found] == ["tests.sizes.fleet"] * 6 + ["tests.sizes.qat"]
    assert [number for writer, numbers in found if writer == "tests.sizes.fleet" for number in numbers] == list(range(54))
    assert list(slices(0)) == []
