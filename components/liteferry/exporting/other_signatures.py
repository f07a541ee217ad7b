"""If the proven signature of a SavedModel needs operators that LiteRT lacks, finds other signatures that convert, for the fix
in the message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from liteferry.errors import LiteFerryError, Reason, ReasonCode
from liteferry.loading import graph_model, tracing
from liteferry.loading.model import LoadedModel
from liteferry.tflite import lowering
from liteferry.types import Signature

_LACKING = (ReasonCode.NEEDS_FLEX, ReasonCode.CONVERT_UNSUPPORTED_OP)
_MOST_TRIED = 4


def may_help(model: LoadedModel, reason: Reason | None) -> bool:
    """Whether operators were missing and there are other signatures to try."""
    return reason is not None and reason.code in _LACKING and bool(model.more_signatures)


def advice(model: LoadedModel, options: lowering.LoweringOptions) -> str | None:
    """A sentence that names the other signatures that convert with LiteRT's own operators; None if none of the first few does.

    The converter aborts the process on some graphs, so callers hand over their results first.
    """
    names = [name for name, function in _candidates(model).items() if _converts(model, function, options)]
    if not names:
        return None
    listed = " and ".join(repr(name) for name in names)
    one = names[0]
    return (
        f"Its signature{'s' if len(names) > 1 else ''} {listed} can be converted: `signature: {one}` in the models entry "
        f"(--signature {one}) proves and lowers that one"
    )


def _candidates(model: LoadedModel) -> Mapping[str, object]:
    return {name: model.more_signatures[name] for name in sorted(model.more_signatures)[:_MOST_TRIED]}


def _converts(model: LoadedModel, function: object, options: lowering.LoweringOptions) -> bool:
    specs, call = graph_model.by_name(function)
    other = dataclasses.replace(model, call=call, signature=Signature(inputs=specs, outputs=()), more_signatures={})
    try:
        traced = tracing.trace(other)
        content, lowered = lowering.lower(
            lowering.Source(model=other, traced=traced, rows=None),
            options=dataclasses.replace(options, allow_select_tf_ops=False),
            sibling=None,
            metadata={},
        )
    except (LiteFerryError, ValueError, TypeError, RuntimeError):
        return False
    return content is not None and lowered.flex is None
