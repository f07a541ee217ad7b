"""The results of an export, for programs and notebooks."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

_BLESSED = "blessed"
_COLUMNS = ("model", "status", "artifact", "verdict", "bytes", "path or reason")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """One model after its export. `report` is its report.json; paths are absolute paths of files on disk.

    Attributes:
      saved_model: the SavedModel's version folder, None where there is none.
      variants: variant -> .tflite file, for the variants that were made.
      blessed: names of the proven artifacts: `saved_model`, and variants.
      reason: why the model is not blessed, None where it is.
      page: the report's page.
    """

    model_id: str
    status: str
    folder: str
    report: Mapping[str, Any]
    saved_model: str | None
    variants: Mapping[str, str]
    blessed: tuple[str, ...]
    reason: str | None
    page: str

    @property
    def is_blessed(self) -> bool:
        """Whether the SavedModel and every required variant are proven."""
        return self.status == _BLESSED

    def table(self) -> list[dict[str, Any]]:
        """One row for each artifact: model, status, artifact, verdict, bytes, and its path or why it is not blessed."""
        parts = {"saved_model": self.report.get("saved_model"), **self.report.get("variants", {})}
        return [self._row(name, part or {}) for name, part in parts.items()]

    def _row(self, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
        reason = part.get("reason") or {}
        told = part.get("path") if part.get("status") == _BLESSED else reason.get("message") or self.reason
        values = (self.model_id, self.status, name, part.get("status", "failed"), part.get("bytes"), told)
        return dict(zip(_COLUMNS, values, strict=True))

    def __str__(self) -> str:
        return _text(self.table())

    def _repr_html_(self) -> str:
        return _html(self.table())


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedFleet:
    """A fleet after its export: `models` in order of their ids, `facts` as fleet.json has them, `out` with everything in it."""

    out: str
    models: tuple[Exported, ...]
    facts: Mapping[str, Any]

    @property
    def is_blessed(self) -> bool:
        """Whether every model is blessed."""
        return bool(self.models) and all(model.is_blessed for model in self.models)

    def table(self) -> list[dict[str, Any]]:
        """The rows of every model, see `Exported.table`."""
        return [row for model in self.models for row in model.table()]

    def __getitem__(self, model_id: str) -> Exported:
        found = next((model for model in self.models if model.model_id == model_id), None)
        if found is None:
            raise KeyError(f"no model {model_id!r}; there are {', '.join(model.model_id for model in self.models)}")
        return found

    def __str__(self) -> str:
        return _text(self.table())

    def _repr_html_(self) -> str:
        return _html(self.table())


def of_report(folder: str, report: Mapping[str, Any]) -> Exported:
    """The result for a model's folder and report."""
    saved = report.get("saved_model") or {}
    variants = {name: part["path"] for name, part in report.get("variants", {}).items() if part.get("path")}
    parts = {"saved_model": saved, **report.get("variants", {})}
    return Exported(
        model_id=report["model_id"],
        status=report["status"],
        folder=folder,
        report=report,
        saved_model=os.path.join(folder, saved["path"]) if saved.get("path") else None,
        variants={name: os.path.join(folder, path) for name, path in variants.items()},
        blessed=tuple(name for name, part in parts.items() if (part or {}).get("status") == _BLESSED and part.get("path")),
        reason=(report.get("reason") or {}).get("message"),
        page=os.path.join(folder, "report.html"),
    )


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join("  ".join(str("" if row[column] is None else row[column]) for column in _COLUMNS) for row in rows)


def _html(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    cells = ("".join(f"<td>{html.escape(str('' if row[c] is None else row[c]))}</td>" for c in _COLUMNS) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in cells)}</tbody></table>"
