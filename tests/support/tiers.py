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
    "tests/report/test_formats.py",
    "tests/report/test_html.py",
    "tests/report/test_pages.py",
    "tests/report/test_recommend.py",
    "tests/report/test_summary.py",
)
# Long ones first, so that the workers end at about the same time; the first two are for one worker each.
FIRST = ("tests/runs/test_main_job.py", "tests/sandbox/test_sandbox.py")

_PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")
_started: list[str] = []


def is_in(nodeid: str, places: tuple[str, ...]) -> bool:
    return any(nodeid.startswith((f"{place}/", f"{place}::")) for place in places)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker("unit" if is_in(item.nodeid, UNIT) else "run")
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
