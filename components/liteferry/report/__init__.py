"""Turns results into report.json, the fleet's files, HTML pages and terminal output."""

from typing import TYPE_CHECKING

from liteferry.types import on_first_use

if TYPE_CHECKING:
    from liteferry.report.fleet import fleet_facts, fleet_rows, fleet_table, write_fleet
    from liteferry.report.hints import HINTS, hint_for
    from liteferry.report.pages.render import render_index, render_model
    from liteferry.report.terminal import one_line, summary_table, summary_text

__all__ = [
    "HINTS",
    "fleet_facts",
    "fleet_rows",
    "fleet_table",
    "hint_for",
    "one_line",
    "render_index",
    "render_model",
    "summary_table",
    "summary_text",
    "write_fleet",
]

__getattr__ = on_first_use(
    __name__,
    {
        **dict.fromkeys(("fleet_facts", "fleet_rows", "fleet_table", "write_fleet"), "fleet"),
        **dict.fromkeys(("HINTS", "hint_for"), "hints"),
        **dict.fromkeys(("render_index", "render_model"), "pages.render"),
        **dict.fromkeys(("one_line", "summary_table", "summary_text"), "terminal"),
    },
)
