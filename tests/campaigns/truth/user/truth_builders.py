"""What a job names as `builder`: the model of a name, without its weights."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import truth_models


def make(library: str, name: str, *, data_seed: int = 0, change: str = "") -> truth_models.Made:
    """A model of the table, or of a seed where the name is `random_<seed>`."""
    k = importlib.import_module(library)
    data = np.random.default_rng(data_seed)
    if name.startswith("random_"):
        return importlib.import_module("truth_random").compose(k, data, seed=int(name.removeprefix("random_")))
    for module in ("truth_state", "truth_shapes", "truth_more", "truth_changes"):
        importlib.import_module(module)
    changed = {"change": change} if change else {}
    made: truth_models.Made = truth_models.TABLE[name].make(k, data, **changed)
    return made


def build(library: str, name: str, data_seed: int = 0, change: str = "") -> Any:
    made = make(library, name, data_seed=data_seed, change=change)
    if not made.model.built:
        answers(made)
    return made.model


def answers(made: truth_models.Made) -> Any:
    """What the live model answers on its rows, in the structure that it gives."""
    import tensorflow as tf

    columns: dict[str, Any] = {}
    for name, values in made.columns.items():
        columns[name] = tf.constant(values.tolist() if values.dtype.kind in "UO" else values)
    if made.feed is not None:
        return made.feed(made.model, columns)
    taken = getattr(made.model, "input", None) if len(columns) > 1 else None
    if isinstance(taken, dict):
        return made.model(columns, training=False)
    if taken is not None:
        order = [getattr(one, "name", "").split(":")[0] for one in taken]
        order = order if set(order) == set(columns) else list(columns)
        return made.model([with_rank(columns[name], one) for name, one in zip(order, taken, strict=True)], training=False)
    return made.model(next(iter(columns.values())), training=False)


def with_rank(values: Any, taken: Any) -> Any:
    return values[:, None] if len(values.shape) == 1 and len(taken.shape) == 2 else values
