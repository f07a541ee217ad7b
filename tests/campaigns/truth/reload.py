"""python -m tests.campaigns.truth.reload FOLDER: loads every case with its own library, as a user would, and writes
FOLDER/reloads.json: name -> null where the answers are those of the live model, else what is wrong.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.campaigns.truth import files
from tests.campaigns.truth.compare import faults, table_of
from tests.campaigns.truth.judge import of_saved_model
from tests.campaigns.truth.writer import named

TOLERANCE = 1e-4


def fault(entry: dict[str, Any], folder: Path) -> str | None:
    """What is wrong with the answers of the library's own reload; None if nothing."""
    columns, expected = (table_of(folder / kind / f"{entry['name']}.npz") for kind in ("rows", "expected"))
    builders = importlib.import_module("truth_builders")
    try:
        if entry["file"] == "plain_saved_model" or (entry["file"] == "saved_model" and entry["library"] != "tf_keras"):
            return faults(expected, of_saved_model(entry["path"], columns), TOLERANCE)
        built = builders.build(**entry["builder"]) if entry["builder"] else None
        model = files.load(entry["library"], entry["file"], entry["path"], built)
        made = builders.make(entry["library"], entry["architecture"])
        made.model, made.columns = model, columns
        return faults(expected, named(model, builders.answers(made)), TOLERANCE)
    except Exception as error:  # noqa: BLE001 - whatever the library says, it did not reload
        return f"{type(error).__name__}: {str(error)[:200]}"


def main(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    found = {}
    for entry in json.loads((folder / "cases.json").read_text()):
        if "unsaved" not in entry:
            if entry["library"] != "tensorflow":
                for module in ("truth_layers", "truth_subclasses"):  # whose classes register themselves
                    importlib.import_module(module)
                importlib.import_module(entry["library"]).backend.clear_session()
            found[entry["name"]] = fault(entry, folder)
    (folder / "reloads.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
