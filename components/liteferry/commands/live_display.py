"""The display of a running job: on a terminal a bar and a table of running models, elsewhere one plain
line per finished model.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from liteferry.output.progress import Watcher
from liteferry.report.formats import STAGE_WORDS, human_seconds, single_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OnLine = Callable[[Mapping[str, Any], int], None]

RUNNING_SHOWN = 10


@contextlib.contextmanager
def shown(watcher: Watcher, total: int, *, is_quiet: bool) -> Iterator[OnLine]:
    """Yields a function to call with each finished model's line and the number of models finished so far."""
    if is_quiet:
        yield lambda line, number: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with on_terminal(watcher, total, Console(stderr=True)) as on_line:
            yield on_line
    else:
        yield lambda line, number: _print_line(line, number, total)


def _print_line(line: Mapping[str, Any], number: int, total: int) -> None:
    if line["is_new"]:
        # A checkpoint may have been added after the count.
        print(f"[{number}/{max(number, total)}] {line['line']}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def on_terminal(watcher: Watcher, total: int, console: Console) -> Iterator[OnLine]:
    """A bar with counts, rate and time left, and below it the running models. Models that fail or are not blessed stay on the
    screen.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("models"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console)
    task = progress.add_task("models", total=total, told="")
    started, new, bad = time.monotonic(), 0, 0

    def screen() -> Group:
        return Group(progress, running_table(watcher.running, now=time.time()))

    with Live(get_renderable=screen, console=console, refresh_per_second=4, transient=True) as live:

        def on_line(line: Mapping[str, Any], number: int) -> None:
            nonlocal new, bad
            new += bool(line["is_new"])
            bad += line["status"] != "blessed"
            progress.update(
                task,
                completed=number,
                total=max(number, total),
                told=in_words(bad=bad, new=new, seconds=time.monotonic() - started),
            )
            if line["is_new"] and line["status"] != "blessed":
                live.console.print(line["line"], style="red", markup=False, highlight=False, soft_wrap=True)

        yield on_line


class HostLines:
    """For an output that is no terminal: a line for each host with what it is working on, when that has changed; not more often
    than a reader can follow. Engines elsewhere may finish all models of a stage at once, long after they were begun.
    """

    def __init__(self, *, every_s: float = 2.0) -> None:
        self._every_s = every_s
        self._told_at = -every_s
        self._told: list[str] = []

    def tell(self, running: Mapping[str, Mapping[str, Any]]) -> None:
        """Prints the lines if they are news."""
        lines = host_lines(running)
        if lines and lines != self._told and time.monotonic() - self._told_at >= self._every_s:
            self._told, self._told_at = lines, time.monotonic()
            print("\n".join(lines), file=sys.stderr, flush=True)


def host_lines(running: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`host-1: exporting cnn, mlp; evaluating two_heads and 4 more`, a line for each host."""
    hosts: dict[str, dict[str, list[str]]] = {}
    for line in list(running.values()):
        stage = STAGE_WORDS.get(line["stage"], single_line(line["stage"]))
        hosts.setdefault(single_line(line.get("host") or "a worker"), {}).setdefault(stage, []).append(
            single_line(line["doing"], limit=60)
        )
    return [
        f"{host}: {'; '.join(_some(stage, names) for stage, names in sorted(of_host.items()))}"
        for host, of_host in sorted(hosts.items())
    ]


def _some(stage: str, names: list[str]) -> str:
    more = f" and {len(names) - RUNNING_SHOWN} more" if len(names) > RUNNING_SHOWN else ""
    return f"{stage} {', '.join(sorted(names)[:RUNNING_SHOWN])}{more}"


def in_words(*, bad: int, new: int, seconds: float) -> str:
    """`2 not blessed, 14 a minute`."""
    rate = f"{new / seconds * 60:.3g} a minute" if new and seconds > 0 else ""
    return ", ".join(part for part in (f"{bad} not blessed" if bad else "", rate) if part)


def running_table(running: Mapping[str, Mapping[str, Any]], *, now: float) -> Table:
    """The running models, longest-running first: id, current step, duration."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    ordered = list(running.values())  # at once: another thread adds to it
    ordered.sort(key=lambda line: line["since"])
    for line in ordered[:RUNNING_SHOWN]:
        since = human_seconds(max(0.0, now - line["since"]))
        stage = STAGE_WORDS.get(line["stage"], line["stage"])
        table.add_row(Text(single_line(line["doing"], limit=60), style="bold"), Text(stage), Text(since, style="dim"))
    if len(ordered) > RUNNING_SHOWN:
        table.add_row(Text(f"and {len(ordered) - RUNNING_SHOWN} more", style="dim"), Text(""), Text(""))
    return table
