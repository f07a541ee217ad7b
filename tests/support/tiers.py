"""Which tests run when. docs/contributing.md says it in words.

`unit` tests start no process; the folders and files of UNIT are held to it. All other tests are `run`: they may. A test marked
`nightly`, in place and with the reason beside it, is left out by `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

UNIT = (
    "tests/campaigns/soak",
    "tests/evaluation/test_arrays_file.py",
    "tests/evaluation/test_call_groups.py",
    "tests/parity",
    "tests/report/test_assets.py",
    "tests/report/test_changes.py",
    "tests/report/test_charts.py",
    "tests/report/test_choices.py",
    "tests/report/test_formats.py",
    "tests/report/test_html.py",
    "tests/report/test_pages.py",
    "tests/report/test_recommend.py",
    "tests/report/test_summary.py",
)
# Whole files and single tests that `make test` can do without, and why; a mark beside a test says the same of some of its cases.
NIGHTLY = {
    "tests/browser/test_browser_index.py::test_five_thousand_models_stay": "a fleet of five thousand",
    "tests/browser/test_browser_index.py::test_no_serious_accessibility_finding": "the pages of models are looked at by day",
    "tests/browser/test_browser_index.py::test_the_page_never_scrolls_sideways": "layout, at four widths",
    "tests/browser/test_browser_index.py::test_paper_has_every_row": "layout",
    "tests/browser/test_browser_model.py::test_every_page_of_the_run_is_quiet": "thirteen pages",
    "tests/browser/test_browser_parts.py::test_twenty_thousand": "a fleet of twenty thousand; the form is seen by day with few",
    "tests/campaigns/chaos/test_chaos.py::test_nothing_is_lost": "the slice takes five minutes; stores are killed at by day",
    "tests/campaigns/chaos/test_chaos.py::test_a_case_that_leaves_something_behind_is_seen": "two runs more",
    "tests/campaigns/fuzz/test_config_fuzz.py::test_a_number_makes_the_same": "changes with the libraries alone",
    "tests/campaigns/scale/test_scale.py::test_every_row_of_every_shard": "by day its limits can fail",
    "tests/checkpoints/test_hostile_files.py::test_a_dictionary_of_gigabytes": "gigabytes",
    "tests/checkpoints/test_hostile_files.py::test_check_looks_at_checkpoints": "an export of its own",
    "tests/checkpoints/test_same_function.py::test_everything_listed": "changes with the libraries alone",
    "tests/checkpoints/test_same_function.py::test_what_is_listed": "changes with the libraries alone",
    "tests/checkpoints/test_same_function.py::test_the_measurement": "changes with the libraries alone",
    "tests/checkpoints/test_sibling_layers.py::test_the_whole_state_of_each_layer": "changes with the libraries alone",
    "tests/checkpoints/test_trust.py::test_other_models_of_the_run_are_unharmed": "the demo has broken models, too",
    "tests/commands/test_compare.py::test_the_command": "one more command; its numbers are seen in this process",
    "tests/commands/test_compare.py::test_either_side_may_be_anything": "six comparisons",
    "tests/commands/test_inspect.py::test_a_damaged_file_is_told": "the fuzzer's slice of the day damages the same kinds",
    "tests/commands/test_kit.py::test_a_kit_": "commands and processes; the verdict is seen by day",
    "tests/commands/test_live.py::test_a_real_run_tells": "a run that waits for twelve seconds",
    "tests/docs/test_three_lines.py::test_three_lines_are_enough": "three exports; tests/commands/test_python.py has one by day",
    "tests/evaluation/test_localise.py::test_the_layer_that_float16": "an export of its own",
    "tests/evaluation/test_localise.py::test_float32_is_held": "an export of its own",
    "tests/evaluation/test_lost_measurements.py::test_what_ends_so_again": "the other ends are seen by day",
    "tests/evaluation/test_lost_measurements.py::test_kernels_that_crash": "the other ends are seen by day",
    "tests/evaluation/test_metrics.py::TestValues::test_analyze_raw_data": "the evaluator's numbers are seen by day",
    "tests/evaluation/test_metrics.py::test_the_same_numbers_for_any_cut": "tests/evaluation/test_tfma_engine.py has the rule",
    "tests/exporting/test_other_signatures.py": "conversions in this process, for one sentence",
    "tests/exporting/test_second_opinion_faults.py::test_a_run_refuses": "one more run; the opinion itself is seen by day",
    "tests/exporting/test_siblings.py::test_neither_workers_nor_sharing": "two more runs; equal bits are seen by day in shards",
    "tests/output/test_relabelled.py::test_a_real_model": "runs the demo's files again; which bytes change is seen by day",
    "tests/output/test_store_publish.py::test_a_successor_that_is": "a kill more; the killed publisher is seen by day",
    "tests/runs/test_main_job.py::test_killed_half_way": "the chaos campaign kills at every place",
    "tests/runs/test_main_job.py::test_run_again_with_nothing_changed": "tests/runs/test_runs_on_stores.py runs again by day",
    "tests/runs/test_only_and_strict.py::test_only_the_models": "one more run",
    "tests/runs/test_only_and_strict.py::test_strict_stops": "one more run; what check foresees is seen by day",
    "tests/samples/test_sample_formats.py::TestTfRecord::test_big_files_are_cut": "seventy thousand records; Arrow's are by day",
    "tests/sandbox/test_sandbox.py::test_a_unit_whose_nursery_is_killed_twice": "a nursery that is killed once is seen by day",
    "tests/sandbox/test_sandbox.py::test_when_launcher_and_nursery_are_killed": "each alone is seen by day",
}
# The same for all tests that ask for a fixture.
NIGHTLY_FIXTURES = {
    "distant": "two whole runs, of which one reads from two stores",
    "by_tfma": "three computations of task metrics; the same is seen by day on values that are written by hand",
}
# Long ones first, so that the workers end at about the same time; the first makes what many others wait for, and the others need
# none of that.
FIRST = (
    "tests/runs/test_main_job.py",
    "tests/sandbox/test_sandbox.py",
    "tests/checkpoints/test_loading.py",
    "tests/campaigns/truth/test_truth_slice.py",
    "tests/exporting/test_siblings.py",
    "tests/campaigns/fuzz/test_fuzz.py",
    "tests/checkpoints/test_trust.py",
    "tests/sandbox/test_twins.py",
    "tests/checkpoints/test_weights.py",
    "tests/output/test_store_publish.py",
)

_PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")
_started: list[str] = []


def is_in(nodeid: str, places: tuple[str, ...]) -> bool:
    return any(nodeid.startswith((f"{place}/", f"{place}::")) for place in places)


@pytest.hookimpl(tryfirst=True)  # before pytest reads the marks for -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker("unit" if is_in(item.nodeid, UNIT) else "run")
        of_item = NIGHTLY_FIXTURES.keys() & set(getattr(item, "fixturenames", ()))
        if of_item or any(item.nodeid.startswith(place) for place in NIGHTLY):
            item.add_marker("nightly")
    order = {place: number for number, place in enumerate(FIRST)}
    items.sort(
        key=lambda item: (item.get_closest_marker("unit") is not None, order.get(item.nodeid.partition("::")[0], len(order)))
    )


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _PROCESSES:
        _started.append(f"{event} {arguments[:2]}")


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def _no_process_in_a_unit_test(request: pytest.FixtureRequest) -> Iterator[None]:
    before = len(_started)
    yield
    if request.node.get_closest_marker("unit") and len(_started) > before:
        pytest.fail(f"a unit test started a process: {_started[before]}; it is no unit test, or need not start one")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seconds by file, the twenty longest: where to look when `make test` takes too long."""
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                place = report.nodeid.partition("::")[0]
                seconds[place] = seconds.get(place, 0.0) + report.duration
    if len(seconds) > 20:
        terminalreporter.section("slowest files")
        for place in sorted(seconds, key=lambda place: -seconds[place])[:20]:
            terminalreporter.write_line(f"{seconds[place]:7.1f} s  {place}")
        terminalreporter.write_line(f"{sum(seconds.values()):7.1f} s  all {len(seconds)} files")
