"""Reports -> what people and programs read: the fleet's files, the pages, the lines in a terminal.

    fleet_rows, fleet_facts, fleet_table, write_fleet    report dicts -> rows, totals, fleet.json, fleet.parquet, index.html
    render_index, render_model                           facts or a report -> one HTML page
    summary_table, summary_text, one_line                facts or a report -> text for a terminal or a log
    HINTS, hint_for                                      reason code -> what to try

Importing this imports neither Jinja2, Arrow nor Rich; the functions that need them do.
"""

from liteferry.report.fleet import COLUMNS, SCHEMA_VERSION, fleet_facts, fleet_rows, fleet_table, write_fleet
from liteferry.report.hints import HINTS, hint_for
from liteferry.report.pages import render_index, render_model
from liteferry.report.summary import one_line, summary_table, summary_text

__all__ = [
    "COLUMNS",
    "HINTS",
    "SCHEMA_VERSION",
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
