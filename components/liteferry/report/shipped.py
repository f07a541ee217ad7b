"""The artifacts of a fleet that may be shipped, from its facts: those of blessed models, and the last blessed ones of models
that are held back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from liteferry import lenient
from liteferry.types import Status


def shipped(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`{model_id, recommended_variant, saved_model, variants}` of every model with a blessed folder, in the fleet's order;
    paths are relative to OUT. Not every variant in it is blessed.
    """
    for model in facts["models"]:
        kept = lenient.mapping(lenient.mapping(model.get("held_back")).get("kept"))
        if model["status"] == Status.BLESSED.value:
            yield dict(model)
        elif kept.get("saved_model"):
            yield {"model_id": model["model_id"], **kept}
