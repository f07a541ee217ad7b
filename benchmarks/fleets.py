"""Fleets for the benchmarks, written once per run by the real Keras: trained for a minute, or not at all but lively."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

ROWS = 512
_SIZE = 64
_VARIANTS = "float32, float16, dynamic_int8, int8"
_TRAINING_ROWS, _EPOCHS = 1024, 8


def write_siblings(folder: str, *, count: int = 24) -> None:
    """MobileNetV2, 64x64, alpha 0.5, `count` times as fine-tuning leaves it; rows.npz beside them."""
    import keras

    model = keras.applications.MobileNetV2(weights=None, input_shape=(_SIZE, _SIZE, 3), alpha=0.5, classes=10, name="mobilenet")
    _write_trained(folder, [model] * count, (_SIZE, _SIZE, 3))


def write_mixed(folder: str, *, count: int = 24) -> None:
    """Small and middle CNNs of three architectures, `count` in all."""
    builders: list[Callable[[], Any]] = [_plain_cnn, _residual_cnn, _separable_cnn]
    models = [build() for build in builders]
    _write_trained(folder, [models[number % 3] for number in range(count)], (32, 32, 3))


def write_tiny(folder: str, *, count: int) -> None:
    """A small MLP, `count` times with other weights, 256 rows of 10 numbers, one variant."""
    import keras

    stack = [keras.Input((10,), name="image"), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax", name="scores")]
    model = keras.Sequential(stack, name="tiny")
    _write(folder, (("tiny", model) for _ in range(count)), (10,), rows=256, variants="float32")


def write_rows(folder: str, *, count: int) -> None:
    """A small CNN and `count` rows of 16x16x3 numbers in a Parquet file, which is read piece by piece."""
    import keras
    import pyarrow as pa
    import pyarrow.parquet as pq

    stack = [keras.Input((16, 16, 3), name="image"), keras.layers.Conv2D(8, 3, activation="relu")]
    model = keras.Sequential([*stack, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, name="scores")], name="cnn")
    _write(folder, iter([("cnn", model)]), (16, 16, 3), rows=1, variants="float32, dynamic_int8")
    random = np.random.default_rng(0)
    kind = pa.fixed_shape_tensor(pa.float32(), (16, 16, 3))
    with pq.ParquetWriter(os.path.join(folder, "rows.parquet"), pa.schema([("image", kind)])) as writer:
        for start in range(0, count, 1000):
            values = random.random((min(1000, count - start), 16, 16, 3), dtype=np.float32)
            writer.write_table(pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(values)}))
    job = os.path.join(folder, "job.yaml")
    with open(job, encoding="utf-8") as file:
        text = file.read()
    with open(job, "w", encoding="utf-8") as file:
        file.write(text.replace("{path: rows.npz, label: label}", "{path: rows.parquet}"))


def write_classes(folder: str, *, count: int) -> None:
    """`count` models of each size class, of the largest a quarter of that, or two: an MLP, a small CNN, MobileNetV2, ResNet50."""
    import keras

    image = keras.Input((_SIZE, _SIZE, 3), name="image")
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(image))
    mlp = keras.Model(image, keras.layers.Dense(10, "softmax")(keras.layers.Dense(32, "relu")(x)), name="1_mlp")
    x = image
    for width in (16, 32, 64):
        x = keras.layers.MaxPooling2D()(keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x))
    cnn = keras.Model(image, keras.layers.Dense(10, "softmax")(keras.layers.GlobalAveragePooling2D()(x)), name="2_cnn")
    settings: dict[str, Any] = {"weights": None, "input_shape": (_SIZE, _SIZE, 3), "classes": 10}
    mobilenet = keras.applications.MobileNetV2(alpha=0.5, name="3_mobilenet", **settings)
    resnet = keras.applications.ResNet50(name="4_resnet50", **settings)
    models = [*[mlp] * count, *[cnn] * count, *[mobilenet] * count, *[resnet] * max(2, count // 4)]
    _write(folder, ((model.name, model) for model in models), (_SIZE, _SIZE, 3), is_calm=True)


def _plain_cnn() -> Any:
    import keras

    layers = keras.layers
    stack: list[Any] = [keras.Input((32, 32, 3), name="image")]
    for width in (16, 32, 64):
        stack += [layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")], name="plain")


def _residual_cnn() -> Any:
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")

    def normalised(x: Any, width: int, size: int, strides: int) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(width, size, strides=strides, padding="same")(x))

    x = layers.ReLU()(normalised(image, 16, 3, 1))
    for width, strides in ((16, 1), (32, 2), (64, 2)):  # ResNet-8 of MLPerf Tiny
        y = normalised(layers.ReLU()(normalised(x, width, 3, strides)), width, 3, 1)
        x = layers.ReLU()(layers.Add()([x if strides == 1 else layers.Conv2D(width, 1, strides=strides)(x), y]))
    return keras.Model(image, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x)), name="residual")


def _separable_cnn() -> Any:
    import keras

    layers = keras.layers
    first = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")
    stack: list[Any] = [keras.Input((32, 32, 3), name="image"), first]
    for width in (48, 96, 128, 128):
        stack += [layers.SeparableConv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")], name="separable")


def _write_trained(folder: str, models: Sequence[Any], shape: tuple[int, int, int]) -> None:
    """Each model as its own fine-tuning of the one that was trained, so that default gates are met: of noise nobody can tell
    what quantising did, and what fails takes longer than what is blessed.
    """
    import keras

    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(0)
    trained: dict[str, list[np.ndarray]] = {}
    for number, model in enumerate(models):
        if model.name not in trained:
            pupil = keras.models.clone_model(model)  # the optimizer stays with it
            _train(pupil, *_pictures(_TRAINING_ROWS, shape, random))
            trained[model.name] = [np.asarray(variable) for variable in pupil.weights]
        for variable, value in zip(model.weights, trained[model.name], strict=True):
            variable.assign(value * random.normal(1, 0.003, value.shape).astype(np.float32))
        model.save(os.path.join(folder, f"{model.name}_{number:04d}.keras"))
    image, label = _pictures(ROWS, shape, random)
    _write_job(folder, {"image": image, "label": label})


def _pictures(count: int, shape: tuple[int, int, int], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ten patterns of 4x4 fields under noise, 0 to 1, and which one it is."""
    fields = np.random.default_rng(1).random((10, 4, 4, shape[2]), dtype=np.float32)
    patterns = fields.repeat(shape[0] // 4, axis=1).repeat(shape[1] // 4, axis=2)
    label = random.integers(0, len(patterns), count)
    return 0.9 * patterns[label] + 0.1 * random.random((count, *shape), dtype=np.float32), label


def _train(model: Any, image: np.ndarray, label: np.ndarray) -> None:
    import keras

    keras.utils.set_random_seed(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # its averages are to arrive within a few dozen steps
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(image, label, batch_size=32, epochs=_EPOCHS, verbose=0)


def _write(
    folder: str,
    models: Iterator[tuple[str, Any]],
    shape: tuple[int, ...],
    *,
    rows: int = ROWS,
    variants: str = _VARIANTS,
    is_calm: bool = False,
) -> None:
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(0)
    for number, (name, model) in enumerate(models):
        _give_life(model, random)
        if is_calm:
            _calm(model, random.random((8, *shape), dtype=np.float32))
        model.save(os.path.join(folder, f"{name}_{number:04d}.keras"))
    columns = {"image": random.random((rows, *shape), dtype=np.float32), "label": random.integers(0, 10, rows)}
    _write_job(folder, columns, variants=variants)


def _write_job(folder: str, columns: dict[str, Any], *, variants: str = _VARIANTS) -> None:
    np.savez(os.path.join(folder, "rows.npz"), **columns)
    with open(os.path.join(folder, "job.yaml"), "w", encoding="utf-8") as file:
        file.write(
            "models: [{checkpoints: '*.keras', samples: rows}]\n"
            "samples: {rows: {path: rows.npz, label: label}}\n"
            f"variants: [{variants}]\n"
        )


def _give_life(model: Any, random: np.random.Generator) -> None:
    """Weights at which activations neither die nor explode, so that answers differ from row to row."""
    for variable in model.variables:
        shape = tuple(variable.shape)
        if not str(variable.dtype).startswith("float"):
            continue
        if len(shape) > 1:
            fan_in = int(np.prod(shape[:-1])) if "depthwise" not in variable.path else int(np.prod(shape[:2]))
            variable.assign(random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32))
        elif "variance" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, shape).astype(np.float32))
        elif "gamma" in variable.path:
            variable.assign(random.uniform(0.8, 1.2, shape).astype(np.float32))
        else:
            variable.assign(random.normal(0, 0.1, shape).astype(np.float32))


def _calm(model: Any, rows: np.ndarray) -> None:
    """A last layer whose sums are about one, as a trained model's: of a softmax at its ends nobody can tell what quantising did,
    and what fails takes longer than what is blessed.
    """
    import keras

    head = model.layers[-1]
    sums = np.asarray(keras.Model(model.input, head.input)(rows)) @ np.asarray(head.kernel)
    head.kernel.assign(np.asarray(head.kernel) / np.std(sums))


if __name__ == "__main__":
    writers: dict[str, Callable[..., None]] = {
        "siblings": write_siblings,
        "mixed": write_mixed,
        "tiny": write_tiny,
        "rows": write_rows,
        "classes": write_classes,
    }
    writers[sys.argv[1]](sys.argv[2], count=int(sys.argv[3]))
