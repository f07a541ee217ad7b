"""What `check` tells of a SavedModel's signatures from its files: which is lowered, which go into the same .tflite file, and
names that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry.config.job import ModelSpec
from liteferry.errors import ReasonCode
from liteferry.loading import together
from liteferry.types import Signature, TensorSpec

_DEFAULT_SIGNATURE, _SERVED_NEXT = "serving_default", "serve"


def problems(uri: str, entry: ModelSpec, seen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names under `signature` and `tflite_signatures` that neither the files nor the job have, as (code, message)."""
    yield from _of_signature(uri, entry, seen)
    if entry.tflite_signatures:
        there, first = _besides_the_first(entry, seen.get("signatures") or {})
        try:
            together.chosen(entry.tflite_signatures, there, first=[first])
        except ValueError as error:
            yield ReasonCode.LOAD_UNSUPPORTED.value, f"{uri}: {error}"


def _of_signature(uri: str, entry: ModelSpec, seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    signatures = seen.get("signatures")
    if entry.signature is None or (signatures is not None and entry.signature in signatures):
        return []
    there = (
        "it is no SavedModel and has none" if signatures is None else f"its signatures: {', '.join(sorted(signatures)) or 'none'}"
    )
    fix = "correct `signature` of its models entry (--signature)"
    return [(ReasonCode.LOAD_UNSUPPORTED.value, f"{uri} has no signature {entry.signature!r}; {there}; {fix}")]


def proven(entry: ModelSpec, signatures: Mapping[str, Any]) -> Signature | None:
    """The signature that is lowered, with the inputs and outputs of those that go into the same file; None where there is none,
    or where a function of the user's is among them, of which the files say nothing.
    """
    chosen = _lowered(entry, signatures)
    if chosen is None:
        return None
    first = of(signatures[chosen]["inputs"], signatures[chosen]["outputs"])
    if not entry.tflite_signatures:
        return first
    there, _ = _besides_the_first(entry, signatures)
    try:
        names = together.chosen(entry.tflite_signatures, there, first=[chosen])
        more = {name: of(signatures[name]["inputs"], signatures[name]["outputs"]) for name in names}
        return together.union(first, more).signature
    except (ValueError, KeyError):
        return None


def _lowered(entry: ModelSpec, signatures: Mapping[str, Any]) -> str | None:
    chosen = entry.signature or next((name for name in (_DEFAULT_SIGNATURE, _SERVED_NEXT) if name in signatures), None)
    return chosen or min(signatures, default=None)


def _besides_the_first(entry: ModelSpec, signatures: Mapping[str, Any]) -> tuple[list[str], str]:
    """The signatures besides the one that is lowered, and the name of that one."""
    first = _lowered(entry, signatures) or _DEFAULT_SIGNATURE
    more = {*signatures, *entry.signatures, *({"serve_examples"} if entry.serve_examples else ())}
    return sorted(more - {first}), first


def of(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> Signature:
    """A signature from what `inspect` tells of its tensors."""

    def spec(tensor: Mapping[str, Any]) -> TensorSpec:
        shape = None if tensor["shape"] is None else tuple(tensor["shape"])
        return TensorSpec(name=tensor["name"], shape=shape, dtype=tensor["dtype"] or "float32")

    return Signature(inputs=tuple(map(spec, inputs)), outputs=tuple(map(spec, outputs)))
