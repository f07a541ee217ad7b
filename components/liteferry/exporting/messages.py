"""The messages that `export_models` hands over: one record each, sent as JSON, types checked on arrival."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from liteferry.json_records import decode_tagged
from liteferry.sandbox import Failure
from liteferry.types import VariantFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelLearned:
    """Fields of ExportedModel, as JSON; later messages add to earlier ones."""

    model_id: str
    facts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantMade:
    """A variant was made, or the reason why not. If there are several for one variant, the last one counts."""

    model_id: str
    variant: VariantFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelEnded:
    """The work on one model is over. `peak_memory_bytes`: None for a model alone, whose supervisor measures it."""

    model_id: str
    failure: Failure | None
    peak_memory_bytes: int | None


Message = ModelLearned | VariantMade | ModelEnded
_KINDS = (ModelLearned, VariantMade, ModelEnded)


def read(results: Iterable[Any]) -> list[Message]:
    """The messages among the results of a sandbox. Raises ValueError for a result that is none of them."""
    return [decode_tagged(_KINDS, result) for result in results]
