"""What a terminal and a log show."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from liteferry.report import fleet_facts, one_line, summary_table, summary_text


def printed(facts, width: int = 120) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width, color_system=None).print(summary_table(facts))
    return screen.getvalue()


def test_one_line_of_a_blessed_model(blessed):
    measured = "float32 1.2e-07  float16 3.1e-04  dynamic_int8 0.0121  int8 0.0412"
    assert one_line(blessed()) == f"blessed      cnn_17  {measured}  recommended dynamic_int8 (21 kB)"


def test_one_line_of_a_model_that_is_not_blessed(not_blessed):
    line = one_line(not_blessed())
    assert line.startswith("not blessed  gru_speech_003  float32 1.2e-07  float16 unverifiable  dynamic_int8 0.0121")
    assert "int8 0.312 not blessed  PARITY_OUT_OF_TOLERANCE in judge: int8: output 'probabilities'" in line


def test_one_line_is_one_line_whatever_the_message_holds(failed):
    report = failed("a\nb\x1b[2J")
    report["reason"]["message"] = "\x1b]0;title\x07first\nsecond\r" + "x" * 900
    line = one_line(report)
    assert line.startswith("failed       a b␛[2J  LOAD_CORRUPT in load: ␛]0;title␇first second")
    assert line.isprintable() and len(line) < 200 and line.endswith("…")


def test_one_line_of_nothing():
    assert one_line({}) == "failed       (no id)"


def test_the_table_has_one_line_per_model_in_words(reports):
    lines = printed(fleet_facts(reports), width=160).splitlines()
    assert lines[0].strip() == "1 of 3 models is blessed."
    assert lines[1].split() == ["Model", "Status", "Variants", "Recommended", "Reason"]
    assert [line.split()[0] for line in lines[2:]] == ["broken_3", "cnn_17", "gru_speech_003"]
    assert "all 4 blessed" in lines[3] and "dynamic_int8 (21kB)" in lines[3]
    assert "2 of 4 blessed, float16 unverifiable, int8 not blessed" in lines[4]
    assert lines[2].rstrip().endswith("LOAD_CORRUPT")


def test_the_table_loses_no_word_on_80_columns(reports):
    text = printed(fleet_facts(reports), width=80)
    for words in ("PARITY_OUT_OF_TOLERANCE", "unverifiable", "gru_speech", "not blessed", "dynamic_int8", "LOAD_CORRUPT"):
        assert words in text, words
    assert "…" not in text


def test_ids_are_not_read_as_markup(failed):
    text = printed(fleet_facts([failed("[red]x[/red]"), failed("[/]"), failed("\x1b[31m")]))
    assert "[red]x[/red]" in text and "[/]" in text and "\x1b" not in text


def test_the_plain_text_has_one_line_per_model_and_one_column_per_variant(reports):
    lines = summary_text(fleet_facts(reports)).splitlines()
    assert lines[0] == "1 of 3 models is blessed."
    assert lines[1].split() == ["MODEL", "STATUS", "float32", "float16", "dynamic_int8", "int8", "RECOMMENDED", "REASON"]
    assert lines[3].split() == ["cnn_17", *["✓", "blessed"] * 5, "dynamic_int8", "(21kB)"]
    assert "? unverifiable" in lines[4] and "✗ not blessed" in lines[4] and lines[4].endswith("PARITY_OUT_OF_TOLERANCE")
    assert len(lines) == 5


@pytest.mark.parametrize("show", [printed, summary_text])
def test_no_models(show):
    assert show(fleet_facts([])).splitlines()[0].startswith("No model was found")


def test_one_model_without_a_reason():
    assert "no reason recorded" in summary_text(fleet_facts([{"model_id": "silent"}]))
