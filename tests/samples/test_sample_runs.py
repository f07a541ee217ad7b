"""Sample formats through the whole command: images, chosen rows, and a damaged shard that costs only who needs it."""

from __future__ import annotations

from tests.support import Run


def test_images_prove_a_model_on_the_rows_that_were_taken(kitchen_sink: Run) -> None:
    report = kitchen_sink.report("images")
    assert report["status"] == "blessed", report["reason"]
    assert report["samples"]["row_count"] == 40
    assert report["variants"]["float16"]["parity"]["y"]["example_count"] == 40
    worst = report["variants"]["float16"]["worst_examples"]
    assert worst and all(example["id"] == f"image {example['row']:03}" for example in worst), worst


def test_a_damaged_shard_fails_the_models_that_need_it_with_its_path(kitchen_sink: Run) -> None:
    reason = kitchen_sink.report("damaged")["reason"]
    assert (reason["code"], reason["stage"]) == ("SAMPLES_MISMATCH", "samples")
    assert f"{kitchen_sink.out.parent}/formats/damaged-1.parquet: cannot be read as .parquet" in reason["message"]
    assert kitchen_sink.report("damaged")["variants"]["float16"]["status"] != "blessed"


def test_and_nobody_else(kitchen_sink: Run) -> None:
    assert kitchen_sink.report("whole")["status"] == "blessed", kitchen_sink.report("whole")["reason"]
    assert kitchen_sink.said.returncode == 1, kitchen_sink.said.stderr
