"""For pytest: `assert_parity(model, samples)` fails with the verdict's message unless every artifact is proven."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteferry.commands.python.results import Exported


def assert_parity(model: Any, samples: Any, *, variants: Sequence[str] | None = None, **keys: Any) -> Exported:
    """Exports a model and raises AssertionError unless its SavedModel and every variant are within their gates.

    Args:
      model, samples, **keys: as in `liteferry.export`; `output` keeps the artifacts; without it they are removed when this
        returns.
      variants: the variants to make, by default float32, float16 and dynamic_int8.

    Returns:
      The result of `liteferry.export`. Its paths exist as long as `output`.
    """
    from liteferry.commands.python.api import export

    chosen: dict[str, Any] = {} if variants is None else {"variants": list(variants)}
    with tempfile.TemporaryDirectory(prefix="liteferry-parity-") as folder:
        exported = export(model, samples, output=keys.pop("output", os.path.join(folder, "out")), **chosen, **keys)
    if not exported.is_blessed:
        told = [f"  {row['artifact']}: {row['verdict']}: {row['path or reason']}" for row in exported.table()]
        raise AssertionError("\n".join([f"{exported.model_id} is {exported.status}: {exported.reason}", *told]))
    return exported
