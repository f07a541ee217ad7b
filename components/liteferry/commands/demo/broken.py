"""Checkpoints that fail, each in its own way, to show that a failing checkpoint does not affect the others."""

from __future__ import annotations

import os
from typing import Any


def write_broken(folder: str) -> None:
    """Adds four broken checkpoints beside the healthy ones; needs mlp.keras to be there already."""
    import digit_layers

    from liteferry.commands.demo import stranger_layers

    checkpoints = os.path.join(folder, "checkpoints")
    with open(os.path.join(checkpoints, "mlp.keras"), "rb") as file:
        whole = file.read()
    with open(os.path.join(checkpoints, "broken_truncated.keras"), "wb") as file:
        file.write(whole[: len(whole) // 2])
    _save_with(stranger_layers.SecretSauce(), os.path.join(checkpoints, "broken_missing_class.keras"))
    _save_with(digit_layers.RestlessNoise(), os.path.join(checkpoints, "broken_always_augments.keras"))
    _save_with(digit_layers.AbortsWhenTraced(), os.path.join(checkpoints, "broken_aborts.keras"))


def _save_with(layer: Any, path: str) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1), name="image"), layer, layers.Flatten(), layers.Dense(10, "softmax", name="digit")]
    )
    model.save(path)
