"""Frozen records that travel between the stages. Small, keyword-only, JSON-friendly: paths and numbers, never model bytes.

Shapes use None for a dimension that is free. dtypes are NumPy names ("float32", "int64", "string" for text and bytes).
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from liteferry.errors import Reason, ReasonCode, Stage


class Status(str, enum.Enum):
    """A verdict. `failed`: no artifact; `not_blessed`: an artifact whose gates were not met; `unverifiable`: cannot run here."""

    BLESSED = "blessed"
    NOT_BLESSED = "not_blessed"
    UNVERIFIABLE = "unverifiable"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One named input or output of a signature; `shape` includes the batch dimension, None where it is free. A `shape` of None:
    any rank.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleColumn(TensorSpec):
    """A sample column as an input it may feed. `is_mapped`: the job's `inputs` says that it is this one's."""

    is_mapped: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """The names, shapes and dtypes of a model's inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.outputs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CustomObject:
    """One of the user's classes or functions that a checkpoint was loaded with, and its source file."""

    name: str
    module: str
    source_digest: str | None
    package_version: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorContract:
    """One input or output of a .tflite file as an app sees it. `position` is its place in the file, which is not the model's
    order.

    `scale` and `zero_point` are per-tensor quantisation parameters, None for float tensors.
    """

    name: str
    position: int
    tensor_index: int
    tensor_name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """The contract of a .tflite file, on which an app may rely. `signatures`: those besides the first, by name."""

    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    signatures: Mapping[str, Contract] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way of lowering a model to LiteRT that was tried; `error` is None for the one that worked."""

    lowering: str
    error: Reason | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DivergingTensor:
    """An inner tensor of a variant that is far from the model's. `layers`: the layers that compute it, several if they were
    fused.

    `position` counts operators in order of execution. `relative` is the largest difference over the largest expected value; both
    numbers are None where NaN or infinity stands on one side only.
    """

    tensor: str
    layers: tuple[str, ...]
    operator: str
    position: int
    max_abs: float | None
    relative: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorError:
    """How far one inner tensor of a variant that failed is from the model's. `relative` as in `DivergingTensor`."""

    tensor: str
    operator: str
    position: int
    relative: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedModelFacts:
    """A SavedModel that was written. `path` is relative to the model's folder; sizes in bytes; `signature`: that of
    `signature_name`, which is proven;
    `per_call_outputs`: those that are one answer for a call, not one for each row. `together`: the union of the signatures that
    the .tflite files hold, see `loading.together`; None where they hold the first alone.
    """

    path: str
    bytes: int
    signature: Signature
    oracle: str
    deterministic: bool | None
    custom_objects: tuple[CustomObject, ...]
    renamed_inputs: dict[str, str]
    warnings: tuple[str, ...]
    more_signatures: dict[str, Signature] = dataclasses.field(default_factory=dict)
    per_call_outputs: tuple[str, ...] = ()
    signature_name: str = "serving_default"
    together: Signature | None = None

    @property
    def proven(self) -> Signature:
        """What rows are bound to and answers are compared by."""
        return self.together or self.signature


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantFacts:
    """A .tflite file that was written, or why it was not: then `reason` is set and `path` is None. `batch` None means any batch
    size. `quantizer` is None for the float flatbuffer itself. `held`: see `held_quantized.read`. `auto`: the search's result
    and attempts, for the variant `auto` only. A file that cannot be run here has a `path` and a `reason`.
    """

    variant: str
    attempts: tuple[Attempt, ...]
    path: str | None = None
    bytes: int | None = None
    batch: int | None = None
    ops: dict[str, int] | None = None
    weights: dict[str, int] | None = None
    contract: Contract | None = None
    quantizer: str | None = None
    held: dict[str, Any] | None = None
    auto: dict[str, Any] | None = None
    reason: Reason | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwinFacts:
    """The float32 twin that the .tflite files were made of, of a model that computes in another format. `of`: which one.
    `max_rel_limit`: how far it may be from the model, relative to the largest answer. `rounds_inputs`: quantised layers round
    what they are given, as in the model.
    """

    of: str
    max_rel_limit: float
    rounds_inputs: bool = False


class OpinionStatus(str, enum.Enum):
    """The result of comparing with the library's own loader; `none`: there was no second opinion, or it gave no answer."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NONE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondOpinion:
    """The checkpoint's answers to the first rows, computed once more by the library's own loader in a process of its own.

    `max_rel`: the largest difference relative to the largest answer; None where it is not a finite number. `by`: what computed
    it. `why`: a sentence about corrections that were made, why there is no opinion, or what differs. `code` is set exactly when
    this keeps the whole model from being blessed.
    """

    status: OpinionStatus
    max_rel: float | None = None
    rows: int = 0
    by: str | None = None
    why: str | None = None
    code: ReasonCode | None = None

    def reason(self) -> Reason | None:
        """Why nothing of the model is blessed; None where the opinion does not prevent it."""
        return None if self.code is None else Reason(code=self.code, stage=Stage.REFERENCE, message=self.why or "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The result of loading, exporting and converting one checkpoint. `reason` is set when that ended early; what was written
    before stands.

    `layers`: layer name -> class of a Keras model. `referenced` says whether the checkpoint's own outputs for the only sample
    shard are already on disk. `shares_trace_of`: the sibling whose trace was used, with this one's variables in it.
    `second_opinion` is None where nothing was exported. `twin` is None where the files were made of the model itself.
    """

    kind: str | None = None
    keras_version: str | None = None
    architecture_digest: str | None = None
    saved_model: SavedModelFacts | None = None
    variants: dict[str, VariantFacts] = dataclasses.field(default_factory=dict)
    samples_problem: Reason | None = None
    referenced: bool = False
    layers: dict[str, str] = dataclasses.field(default_factory=dict)
    shares_trace_of: str | None = None
    second_opinion: SecondOpinion | None = None
    twin: TwinFacts | None = None
    reason: Reason | None = None
    timings_s: dict[str, float] = dataclasses.field(default_factory=dict)
    peak_memory_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignatureSpec:
    """One entry of a job's `signatures`: a method of the model, or "module:function", with the tensors it takes.

    `inputs` empty: the model's own inputs. `assets`: name -> local file that is kept in the SavedModel.
    """

    name: str
    method: str | None = None
    function: str | None = None
    inputs: tuple[TensorSpec, ...] = ()
    assets: Mapping[str, str] = dataclasses.field(default_factory=dict)


def keyword_of(name: str) -> str:
    """The keyword under which TensorFlow passes the input of a signature to its function: `0/reward` is `arg_0_reward`.

    Source: `sanitize_arg_name` in tensorflow/core/function/polymorphism/function_type.py.
    """
    plain = "".join(mark if mark.isalnum() else "_" for mark in name)
    return plain if plain[:1].isalpha() else f"arg_{plain}"


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package whose names are imported when they are first asked for: `liteferry check` needs few of them.

    Args:
      package: its name.
      homes: name -> the module in it that defines the name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
