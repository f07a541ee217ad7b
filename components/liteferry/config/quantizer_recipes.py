"""Recipes of the AI Edge quantizer that the user supplies: read, checked with the quantizer's own reader,
and named as variants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.json_records import parse

if TYPE_CHECKING:
    from liteferry.config.job import Job


def problems_of(job: Job) -> list[str]:
    """Problems with recipes that the quantizer cannot read; each starts with its key."""
    problems = []
    for name, path in job.recipes.items():
        try:
            _check(parse(storage.read_bytes(path)))
        except (StorageError, OSError) as error:
            problems.append(f"recipes.{name}: {path} cannot be read ({error}); correct the path")
        except ValueError as error:
            problems.append(f"recipes.{name}: {path} is no recipe of the AI Edge quantizer: {error}")
    return problems


def read(job: Job) -> dict[str, str]:
    """Name -> recipe as JSON. The job's recipes must have passed `problems_of`."""
    return {name: json.dumps(json.loads(storage.read_bytes(path)), sort_keys=True) for name, path in job.recipes.items()}


def _check(recipe: Any) -> None:
    from ai_edge_quantizer import qtyping, recipe_manager

    if not isinstance(recipe, list) or not recipe:
        raise ValueError("it is not a list of rules; `recipe_manager.get_quantization_recipe()` gives one")
    operations = {operation.value for operation in qtyping.TFLOperationName}
    for index, rule in enumerate(recipe):
        if not isinstance(rule, Mapping):
            raise ValueError(f"rule {index} is not a mapping")
        missing = [key for key in ("regex", "operation", "algorithm_key", "op_config") if key not in rule]
        if missing:
            raise ValueError(f"rule {index} has no {', '.join(missing)}")
        if str(rule["operation"]) not in operations:
            raise ValueError(f"rule {index}: {rule['operation']!r} is no operation that it knows")
        re.compile(str(rule["regex"]))
    try:
        recipe_manager.RecipeManager().load_quantization_recipe(recipe)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
