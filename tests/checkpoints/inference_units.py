"""What test_inference runs in sandboxes: random layers one by one, and configs as the libraries write them."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_IS_RANDOM = ("Random", "Dropout", "Noise", "AugMix", "CutMix", "MixUp", "RandAugment")
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "RandomBrightness": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"value_range": (0, 255), "brightness_factor": 0.5, "saturation_factor": 0.5},
    "RandomContrast": {"factor": 0.5},
    "RandomCrop": {"height": 6, "width": 6},
    "RandomHeight": {"factor": 0.5},
    "RandomWidth": {"factor": 0.5},
    "RandomHue": {"factor": 0.5},
    "RandomPosterization": {"factor": 2},
    "RandomRotation": {"factor": 0.4},
    "RandomSaturation": {"factor": 0.9},
    "RandomSharpness": {"factor": 0.9},
    "RandomShear": {"x_factor": 0.5, "y_factor": 0.5},
    "RandomTranslation": {"height_factor": 0.4, "width_factor": 0.4},
    "RandomZoom": {"height_factor": 0.4},
    "AlphaDropout": {"rate": 0.5},
    "Dropout": {"rate": 0.5},
    "GaussianDropout": {"rate": 0.5},
    "GaussianNoise": {"stddev": 0.9},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "SpatialDropout3D": {"rate": 0.5},
}
_SHAPES = {"SpatialDropout1D": (8, 3), "SpatialDropout3D": (4, 4, 4, 3)}


def random_layer_names(library: Any) -> list[str]:
    """Every public layer of a library that is random in training."""
    return sorted(name for name in dir(library.layers) if any(word in name for word in _IS_RANDOM) and "Base" not in name)


def run_every_random_layer(argument: tuple[str, str], reporter: Any) -> None:
    """For each: a model that ends in that layer, saved, loaded, traced and run twice, against the same without the layer."""
    from liteferry import checkpoints
    from liteferry.loading import loaders, tracing
    from liteferry.loading.model import LoadSpec

    library_name, folder = argument
    k = importlib.import_module(library_name)
    k.utils.set_random_seed(5)  # a layer that draws "no change" by chance would look as if it were off
    results: dict[str, Any] = {}
    for name in random_layer_names(k):
        shape = _SHAPES.get(name, (8, 8, 3))
        rows = np.random.default_rng(3).uniform(1, 255, (4, *shape)).astype(np.float32)
        layer = getattr(k.layers, name)(**_ARGUMENTS.get(name, {}))
        model = k.Sequential([k.Input(shape, name="x"), k.layers.BatchNormalization(), layer])
        path = str(Path(folder) / f"{name}.keras")
        model.save(path)
        expected = np.asarray(model.layers[0](rows, training=False))
        if name == "RandomCrop":
            expected = np.asarray(layer(expected, training=False))  # it cuts the middle out when it is not training
        loaded = loaders.load(path, checkpoints.examine(path), LoadSpec(), sample_columns=())
        traced = tracing.trace(loaded)
        first, second = traced.run({"x": rows}), traced.run({"x": rows})
        output = next(iter(first))
        trained = np.asarray(layer(rows, training=True))
        results[name] = {
            "difference": float(np.abs(first[output] - expected).max()),
            "deterministic": not tracing.differing_outputs(first, second),
            "acts_in_training": trained.shape != rows.shape or bool(np.abs(trained - rows).max() > 1e-3),
        }
    reporter.result(results)


def write_configs(argument: tuple[str, str], reporter: Any) -> None:
    """Writes config.json of a few architectures, each saved as a .keras archive by the library itself."""
    library_name, folder = argument
    k = importlib.import_module(library_name)
    for name, build in _ARCHITECTURES.items():
        path = Path(folder) / f"{name}.keras"
        build(k).save(path)
        with zipfile.ZipFile(path) as archive:
            (Path(folder) / f"{name}.json").write_text(json.dumps(json.loads(archive.read("config.json"))))
        path.unlink()
    reporter.result(len(_ARCHITECTURES))


def _image(k: Any, *layers: Any) -> Any:
    return k.Sequential([k.Input((8, 8, 3), name="image"), *layers, k.layers.Flatten(), k.layers.Dense(2)])


def _functional_two_inputs(k: Any) -> Any:
    image, other = k.Input((8, 8, 3), name="image"), k.Input((4,), name="other")
    x = k.layers.Flatten()(k.layers.Rescaling(1 / 255)(k.layers.RandomFlip()(image)))
    return k.Model([image, other], k.layers.Concatenate()([x, k.layers.Dense(3)(other)]))


def _nested_backbone(k: Any) -> Any:
    backbone = k.Sequential(
        [k.Input((8, 8, 3)), k.layers.Rescaling(1 / 127.5, offset=-1), k.layers.Conv2D(2, 3)], name="backbone"
    )
    augment = k.Sequential([k.layers.RandomFlip()], name="augment")
    image = k.Input((8, 8, 3), name="image")
    return k.Model(image, k.layers.GlobalAveragePooling2D()(backbone(augment(image))))


def _normalization(k: Any) -> Any:
    layer = k.layers.Normalization(mean=[20.0, 16.0], variance=[6.25, 6.25])
    return k.Sequential([k.Input((2,), name="features"), layer, k.layers.Dense(2)])


def _two_branches(
    k: Any, *, width: int = 4, activation: str = "relu", swap: bool = False, flip: bool = False, seed: int = 1
) -> Any:
    x = k.Input((6,), name="x")
    initializer = k.initializers.GlorotUniform(seed=seed)
    first = k.layers.Dense(width, activation=activation, kernel_initializer=initializer)(x)
    second = k.layers.Dense(4, activation="tanh")(k.layers.Dropout(0.3, seed=seed)(x if swap else first))
    heads = [k.layers.Dense(2)(first), k.layers.Dense(2)(second)]
    return k.Model(x, heads[::-1] if flip else heads)


def _trained(k: Any) -> Any:
    model = _two_branches(k)
    model.compile(optimizer="adam", loss=["mse", "mse"])
    model.fit(np.ones((4, 6)), [np.ones((4, 2)), np.ones((4, 2))], verbose=0)
    return model


def _renamed(k: Any) -> Any:
    for _ in range(3):
        k.layers.Dense(1)  # moves the counters of automatic names on
    return _two_branches(k)


_ARCHITECTURES: dict[str, Callable[[Any], Any]] = {
    "rescaling_first": lambda k: _image(k, k.layers.Rescaling(1 / 255)),
    "after_augmentation": lambda k: _image(
        k, k.layers.RandomRotation(0.125), k.layers.GaussianNoise(0.25), k.layers.Rescaling(1 / 255)
    ),
    "minus_one_to_one": lambda k: _image(k, k.layers.Rescaling(1 / 127.5, offset=-1)),
    "functional_two_inputs": _functional_two_inputs,
    "nested_backbone": _nested_backbone,
    "normalization": _normalization,
    "after_a_dense_layer": lambda k: _image(k, k.layers.Dense(3), k.layers.Rescaling(1 / 255)),
    "no_scaling": lambda k: _image(k),
    "digest_base": _two_branches,
    "sibling_other_weights_and_names": _renamed,
    "sibling_other_seed": lambda k: _two_branches(k, seed=2),
    "sibling_other_training": _trained,
    "other_width": lambda k: _two_branches(k, width=5),
    "other_activation": lambda k: _two_branches(k, activation="elu"),
    "other_wiring": lambda k: _two_branches(k, swap=True, width=4),
    "other_output_order": lambda k: _two_branches(k, flip=True),
}
