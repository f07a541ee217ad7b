"""The HTML pages. Everything from a report is escaped, and a page fetches nothing but the scripts in OUT/assets.

A Content-Security-Policy in the page allows its own style block, by hash, scripts that lie beside it, and `data:` images; the
browser refuses everything else, inline scripts included. The data for scripts is in the page as a JSON block.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteferry import lenient, storage
from liteferry.report import formats
from liteferry.report.pages.index_view import index_view
from liteferry.report.pages.model_view import model_view
from liteferry.report.pages.table_data import json_block
from liteferry.storage import beneath, layout

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup


def render_index(facts: Mapping[str, Any]) -> str:
    """The fleet's page from `fleet_facts`, or from fleet.json read back: totals, what did not ship and why, every model."""
    return render_view("index.html.j2", index_view(facts))


def render_model(report: lenient.Report) -> str:
    """A model's page from its report, which may lack any key: the verdict first, then its grounds."""
    return render_view("model.html.j2", model_view(report))


def render_view(template: str, view: Mapping[str, Any]) -> str:
    """A page from a template and its content."""
    return _environment().get_template(template).render(view=view)


@functools.cache
def _environment() -> jinja2.Environment:
    """The templates' environment: autoescape is on for every template, and a misspelled name raises."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("liteferry.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code_spans"] = _code_spans
    environment.filters["asset"] = asset_path
    environment.filters["json_block"] = lambda value: Markup(json_block(value))
    css = environment.get_template("style.css.j2").render()
    environment.globals["css"] = Markup(css)
    environment.globals["css_hash"] = "sha256-" + base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment


def _shown(value: object) -> object:
    """Makes control characters in printed text visible and keeps text within what UTF-8 can hold; applied to everything that a
    template prints.
    """
    if not isinstance(value, str) or type(value).__name__ == "Markup":
        return value
    return formats.printable(lenient.text(value) or "")


def _code_spans(sentence: str) -> Markup:
    """Escaped text in which the parts between backticks are marked as code."""
    from markupsafe import Markup, escape

    parts = sentence.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts))


@functools.cache
def asset_names() -> dict[str, str]:
    """File name in the package -> file name under OUT/assets: `charts.js` -> `charts.0a1b2c3d.js`. Licences keep theirs.

    The names hold a digest of the content, so that the page of an older run keeps the script that it was made for.
    """
    folder = importlib.resources.files("liteferry.report") / "assets"
    names = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".txt"):
            names[entry.name] = entry.name
        elif entry.name.endswith(".js"):
            stem, suffix = posixpath.splitext(entry.name)
            names[entry.name] = f"{stem}.{hashlib.sha256(entry.read_bytes()).hexdigest()[:8]}{suffix}"
    return names


def asset_path(name: str) -> str:
    """The path of an asset relative to the output folder. Raises KeyError for an unknown one."""
    return f"{layout.ASSETS}/{asset_names()[name]}"


def write_assets(out: str) -> None:
    """Copies the missing assets into OUT/assets. Raises StorageError when they cannot be written."""
    beneath.refuse_links(out)
    folder = importlib.resources.files("liteferry.report") / "assets"
    there = set(storage.list_directory(storage.join(out, layout.ASSETS)))
    for name, given in asset_names().items():
        if given not in there:
            beneath.write_bytes(out, f"{layout.ASSETS}/{given}", (folder / name).read_bytes())
