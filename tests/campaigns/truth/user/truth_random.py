"""Models put together at random from blocks: chains and branches, layers used twice, models in models, several outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from truth_models import Made, floats

Block = Callable[[Any, Any, np.random.Generator], Any]

_VECTOR: list[Block] = [
    lambda on, x, r: on.Dense(int(r.integers(3, 7)), r.choice(["relu", "tanh", "elu", "gelu", "softplus", "linear"]))(x),
    lambda on, x, r: on.BatchNormalization(epsilon=float(r.choice([1e-3, 1e-2])), center=bool(r.integers(2)))(x),
    lambda on, x, r: on.LayerNormalization()(x),
    lambda on, x, r: on.Dropout(0.4)(x),
    lambda on, x, r: on.LeakyReLU(0.2)(x),
    lambda on, x, r: on.PReLU()(x),
    lambda on, x, r: on.Activation(r.choice(["sigmoid", "swish", "hard_sigmoid", "softsign"]))(x),
    lambda on, x, r: on.Rescaling(0.5, offset=0.1)(x),
    lambda on, x, r: on.Concatenate()([x, on.Dense(2, "relu")(x)]),
    lambda on, x, r: on.Multiply()([x, on.Dense(x.shape[-1], "sigmoid")(x)]),
]
_SEQUENCE: list[Block] = [
    lambda on, x, r: on.Conv1D(int(r.integers(2, 5)), 3, padding="same", activation="relu")(x),
    lambda on, x, r: on.SeparableConv1D(3, 2, padding="same")(x),
    lambda on, x, r: on.BatchNormalization()(x),
    lambda on, x, r: on.TimeDistributed(on.Dense(3, "tanh"))(x),
    lambda on, x, r: on.MultiHeadAttention(2, 2)(x, x),
    lambda on, x, r: on.Add()([x, on.Dense(x.shape[-1])(x)]),
    lambda on, x, r: on.SpatialDropout1D(0.2)(x),
    lambda on, x, r: on.GRU(3, return_sequences=True)(x),
]
_IMAGE: list[Block] = [
    lambda on, x, r: on.Conv2D(int(r.integers(2, 5)), 3, padding="same", activation="relu")(x),
    lambda on, x, r: on.DepthwiseConv2D(3, padding="same")(x),
    lambda on, x, r: on.SeparableConv2D(3, 3, padding="same")(x),
    lambda on, x, r: on.BatchNormalization()(x),
    lambda on, x, r: on.AveragePooling2D(2, padding="same")(x),
    lambda on, x, r: on.UpSampling2D()(on.MaxPooling2D(2, padding="same")(x)),
    lambda on, x, r: on.ReLU(6.0)(x),
    lambda on, x, r: on.RandomFlip()(x),
    lambda on, x, r: on.Add()([x, on.Conv2D(x.shape[-1], 1)(x)]),
]
_KINDS = {"vector": ((5,), _VECTOR), "sequence": ((6, 3), _SEQUENCE), "image": ((6, 6, 2), _IMAGE)}


def _blocks(on: Any, x: Any, random: np.random.Generator, blocks: list[Block], count: int) -> Any:
    for number in random.integers(len(blocks), size=count):
        x = blocks[number](on, x, random)
    return x


def _part(k: Any, shape: tuple[int, ...], random: np.random.Generator, blocks: list[Block], depth: int) -> Any:
    """A model to be used as a layer, with one in it again while `depth` lasts; its output has the shape of its input."""
    a = k.Input(shape)
    x = _blocks(k.layers, a, random, blocks[:5], int(random.integers(1, 3)))
    if depth:
        x = _part(k, tuple(x.shape[1:]), random, blocks, depth - 1)(x)
    part = k.Model(a, x)
    if random.integers(3) == 0:
        part.layers[1].trainable = False
    return part


def compose(k: Any, data: np.random.Generator, *, seed: int) -> Made:
    """The model of `seed`: the same layers every time, whoever calls it."""
    random = np.random.default_rng(seed)
    on = k.layers
    shape, blocks = _KINDS[random.choice(list(_KINDS))]
    names = ["x"] if random.integers(2) else ["right", "left"]
    inputs = [k.Input(shape, name=name) for name in names]
    flow = inputs
    if random.integers(2):
        shared = _part(k, shape, random, blocks, int(random.integers(3)))
        flow = [shared(x) for x in flow]
    if len(flow) == 2:
        flow = [on.Concatenate()(flow), on.Subtract()(flow)]
    flow = [_blocks(on, x, random, blocks, int(random.integers(1, 4))) for x in flow]
    heads = []
    for x in flow:
        x = on.Flatten()(x) if len(x.shape) == 3 or len(x.shape) == 2 else on.GlobalAveragePooling2D()(x)
        heads.append(on.Dense(int(random.integers(2, 5)), random.choice(["linear", "softmax", "tanh"]))(x))
        if random.integers(3) == 0:
            heads.append(x)
    arranged: Any = heads[0] if len(heads) == 1 else heads
    if len(heads) > 1 and random.integers(2):
        arranged = {f"answer_{number}": head for number, head in enumerate(heads)}
    taken: Any = inputs[0] if len(inputs) == 1 else inputs
    if len(inputs) == 2 and random.integers(2):
        taken = dict(zip(names, inputs, strict=True))
    return Made(model=k.Model(taken, arranged), columns={name: floats(data, *shape) for name in names})
