"""Models whose builder was refactored since the weights were saved: `change` says how."""

from __future__ import annotations

from truth_models import Made, architecture, chain, floats
from truth_shapes import nested_and_frozen


@architecture(files=())
def branches(k, data, change=""):
    x = k.Input((4,), name="x")
    mean, scale = k.layers.Dense(4, name="mean"), k.layers.Dense(4, "softplus", name="scale")
    if change == "reordered":
        second, first = scale(x), mean(x)
        return Made(model=k.Model(x, [second, first]), columns={"x": floats(data, 4)})
    return Made(model=k.Model(x, [mean(x), scale(x)]), columns={"x": floats(data, 4)})


@architecture(files=())
def transfer(k, data, change=""):
    made = nested_and_frozen(k, data)
    if change == "thawed":
        made.model.get_layer("base").get_layer("b1").trainable = True
        made.model.get_layer("base").get_layer("n1").trainable = True
    return made


@architecture(files=())
def depth(k, data, change=""):
    count = {"shorter": 2, "longer": 4}.get(change, 3)
    name = "layer" if change == "renamed" else "h"
    return chain(
        k,
        data,
        (4,),
        *[k.layers.Dense(4, "tanh", name=f"{name}{number}") for number in range(count)],
        k.layers.Dense(4, name="y"),
    )


@architecture(files=())
def unnamed(k, data, change=""):
    if change == "counted":
        for _ in range(3):  # the names of this process have counted on
            k.layers.Dense(1)
    return chain(k, data, (4,), *[k.layers.Dense(4, "tanh") for _ in range(3)])


@architecture(files=())
def flat_or_nested(k, data, change=""):
    layers = [k.layers.Dense(4, "tanh", name=f"h{number}") for number in range(3)]
    if change == "nested":
        layers = [k.Sequential([k.Input((4,)), *layers[:2]], name="part"), layers[2]]
    return chain(k, data, (4,), *layers)


@architecture(files=())
def statistics(k, data, change=""):
    """Without its normalisation in the builder, or with one that was not there."""
    norm = [] if change == "without" else [k.layers.BatchNormalization(name="norm")]
    return chain(k, data, (4,), k.layers.Dense(4, name="first"), *norm, k.layers.Dense(4, name="second"))


CHANGES = {
    "branches": ("reordered",),
    "transfer": ("thawed",),
    "depth": ("shorter", "longer", "renamed"),
    "unnamed": ("counted",),
    "flat_or_nested": ("nested",),
    "statistics": ("without",),
}
