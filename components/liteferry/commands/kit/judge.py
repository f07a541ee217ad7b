"""A kit and a device's answers -> statistics and verdict, computed as in a run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from liteferry import lenient
from liteferry.commands.compare.compare import Compared
from liteferry.commands.kit import layout
from liteferry.errors import JobError
from liteferry.evaluation.verdict import Case, verdict
from liteferry.json_records import decode
from liteferry.loading import together
from liteferry.parity.output_stats import OutputStats
from liteferry.tflite.file_tensors import as_model_gives_it
from liteferry.types import TensorContract


def judge_answers(kit: str, answers: str) -> Compared:
    """Compares a device's answers with the kit's expected answers, and judges them by the kit's gates.

    Raises:
      JobError: the folder is not a kit, there are no answers, or arrays cannot be read or compared.
    """
    manifest = layout.read_manifest(kit)
    with open(os.path.join(kit, layout.ROWS), encoding="utf-8") as file:
        rows = json.load(file)
    contract = _outputs(lenient.mapping(manifest["contract"]))
    statistics, problems = {}, []
    for name in manifest["outputs"]:
        path = layout.array_path(answers, name)
        if not os.path.exists(path):
            continue
        try:
            expected = _load(layout.array_path(os.path.join(kit, layout.EXPECTED), name))
            observed = _as_floats(_load(path), contract.get(name), expected)
            statistics[name] = _compared(expected, observed, rows)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
    if problems or not statistics:
        wanted = ", ".join(os.path.basename(layout.array_path("", name)) for name in manifest["outputs"])
        raise JobError(problems or [f"{answers}: holds none of {wanted}"], source="liteferry compare")
    case = Case(
        candidate=manifest["variant"],
        like=manifest["like"],
        expected_outputs=tuple(manifest["outputs"]),
        statistics={name: stats.stored() for name, stats in statistics.items()},
        gates=manifest["gates"],
        kinds=manifest["kinds"],
    )
    return Compared(
        stats=statistics, verdict=verdict(case), kind=manifest["variant"], notes=_notes(manifest), row_count=len(rows), rows=()
    )


def _outputs(contract: Mapping[str, Any]) -> dict[str, TensorContract]:
    """The file's outputs by the names that their answers have."""
    found = {one["name"]: decode(TensorContract, one) for one in lenient.listing(contract.get("outputs"))}
    for signature, sides in lenient.mapping(contract.get("signatures")).items():
        for one in lenient.listing(lenient.mapping(sides).get("outputs")):
            found[together.output_name(signature, one["name"])] = decode(TensorContract, one)
    return found


def _load(path: str) -> np.ndarray:
    loaded: np.ndarray = np.load(path, allow_pickle=False)
    return loaded


def _as_floats(value: np.ndarray, tensor: TensorContract | None, expected: np.ndarray) -> np.ndarray:
    """Dequantises the integers of a file with integer outputs, and restores the expected shape if only axes of length 1 are
    missing.
    """
    if tensor is not None and expected.dtype.kind == "f":
        value = as_model_gives_it(value, tensor)
    return value.reshape(expected.shape) if value.size == expected.size else value


def _compared(expected: np.ndarray, observed: np.ndarray, rows: list[Mapping[str, Any]]) -> OutputStats:
    if expected.shape != observed.shape:
        raise ValueError(f"has shape {observed.shape}, the kit expects {expected.shape}")
    of_rows: list[Mapping[str, Any]] = (
        rows if len(rows) == len(expected) else [{"id": str(place), "row": place} for place in range(len(expected))]
    )
    ids, numbers = [str(row["id"]) for row in of_rows], np.array([int(row["row"]) for row in of_rows])
    order = np.argsort(numbers, kind="stable")
    return OutputStats.compare(
        reference=expected[order], candidate=observed[order], ids=[ids[place] for place in order], rows=numbers[order]
    )


def _notes(manifest: Mapping[str, Any]) -> list[str]:
    return [f"kit of {manifest['model_id']}, {manifest['variant']}; answers of a device against those of the checkpoint"]
