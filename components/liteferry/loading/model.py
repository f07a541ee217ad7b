"""The loaded checkpoint: a call with named tensors that computes inference, the same for every loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from liteferry.checkpoints.architecture_facts import InputRange
from liteferry.checkpoints.links import LinkRule
from liteferry.types import CustomObject, Signature, TensorSpec

Tensors = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """The job's settings for loading: code the user trusts, how to build a model for weights-only files, the classes of random
    layers to leave out, and the files that this code may read. `signature`: the signature of a SavedModel that is proven and
    lowered. `link_root`: the folder in which a pattern found the checkpoint, see `links`.
    """

    modules: tuple[str, ...] = ()
    custom_objects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    trust: tuple[str, ...] = ()
    builder: str | None = None
    builder_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    strip: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    weights: str = "by_name"
    signature: str | None = None
    link_root: str | None = None

    @property
    def links(self) -> LinkRule:
        """The rule for targets of symbolic links in the checkpoint."""
        return LinkRule.of(self.trust, root=self.link_root)

    @property
    def is_by_position(self) -> bool:
        """Whether the job requires the builder's order for the weights, whatever their names."""
        return self.weights == "by_position"

    @property
    def may_use_network(self) -> bool:
        return "network" in self.trust


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A checkpoint ready to compute.

    Attributes:
      call: named TensorFlow tensors in, named tensors out, as the checkpoint computes at inference (`training=False`).
      signature: the model's own input and output names; output shapes are known once it is traced, so `outputs` is empty here.
      oracle: which library computes, with its version, for example "keras 3.15.1".
      custom: classes and functions of the user's that were offered to the loader.
      warnings: sentences for the report.
      stripped: the layers that were left out, as "name (ClassName)".
      training_layers: settings of augmentation and preprocessing layers, see `architecture_facts.training_layers`.
      input_ranges: the values that inputs are expected to have, by input name, where the model says so.
      signature_name: of the SavedModel that is written, the signature that `call` is.
      own_name: of the checkpoint, the signature that `call` is.
      more_signatures: a SavedModel's own signatures besides the one that `call` is, TensorFlow ConcreteFunctions by name.
      keep: objects that must stay alive while `call` is used, and that a SavedModel must track if tracking the variables is not
        enough.
    """

    call: Callable[[Tensors], Tensors]
    signature: Signature
    oracle: str
    keep: Any
    custom: tuple[CustomObject, ...] = ()
    warnings: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    training_layers: tuple[Mapping[str, Any], ...] = ()
    input_ranges: Mapping[str, InputRange] = dataclasses.field(default_factory=dict)
    more_signatures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    signature_name: str = "serving_default"
    own_name: str = "serving_default"

    def input_specs(self) -> tuple[TensorSpec, ...]:
        return self.signature.inputs
