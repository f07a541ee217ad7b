"""What else can differ between a model that was trained and the one that was loaded: policies, arguments of a call, names that
are not alone, layers shared across nesting, state of a user's own that nobody saves.
"""

from __future__ import annotations

import numpy as np
import truth_layers
import truth_subclasses
from truth_models import ROWS, Made, architecture, chain, floats

_KERAS_ARCHIVES = ("keras", "zip", "h5", "weights_h5", "checkpoint")


@architecture()
def same_names_in_two_models(k, data):
    def part(name):
        layers = [k.layers.Dense(4, "tanh", name="h0"), k.layers.Dense(4, name="h1")]
        return k.Sequential([k.Input((4,)), *layers], name=name)

    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Subtract()([part("second")(x), part("first")(x)])), columns={"x": floats(data, 4)})


@architecture()
def shared_across_nesting(k, data):
    shared = k.layers.Dense(4, "tanh", name="shared")
    a = k.Input((4,))
    base = k.Model(a, k.layers.Dense(4, name="own")(shared(a)), name="base")
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Dense(2)(k.layers.Add()([base(x), shared(x)]))), columns={"x": floats(data, 4)})


@architecture()
def one_model_in_two_parents(k, data):
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(4, "tanh"), k.layers.BatchNormalization()], name="inner")
    parents = []
    for name in ("left", "right"):
        a = k.Input((4,))
        parents.append(k.Model(a, k.layers.Dense(3)(inner(a)), name=name))
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, [parent(x) for parent in parents]), columns={"x": floats(data, 4)})


@architecture()
def nested_without_input_shape(k, data):
    x = k.Input((4,), name="x")
    base = k.Sequential([k.layers.Dense(5, "relu"), k.layers.BatchNormalization()])
    return Made(model=k.Model(x, k.layers.Dense(2)(base(x))), columns={"x": floats(data, 4)})


@architecture()
def arguments_of_a_call(k, data):
    x = k.Input((5, 4), name="x")
    attended = k.layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x, use_causal_mask=True)
    normed = k.layers.BatchNormalization()(attended, training=False)
    return Made(model=k.Model(x, k.layers.Flatten()(normed)), columns={"x": floats(data, 5, 4)})


@architecture()
def called_as_in_training(k, data):
    x = k.Input((4,), name="x")
    y = k.layers.BatchNormalization()(k.layers.Dense(4)(x), training=True)
    return Made(model=k.Model(x, k.layers.Dense(2)(y)), columns={"x": floats(data, 4)})


@architecture()
def merge_arguments(k, data):
    a, b = k.Input((3, 4), name="left"), k.Input((3, 4), name="right")
    y = k.layers.Dot(axes=(2, 2), normalize=True)([a, b])
    z = k.layers.Concatenate(axis=1)([a, b])
    return Made(model=k.Model([a, b], [y, z]), columns={"left": floats(data, 3, 4), "right": floats(data, 3, 4)})


@architecture()
def backward_of_its_own(k, data):
    forward, backward = k.layers.LSTM(3, return_sequences=True), k.layers.GRU(2, return_sequences=True, go_backwards=True)
    layer = k.layers.Bidirectional(forward, backward_layer=backward)
    return chain(k, data, (5, 3), layer, k.layers.Flatten(), k.layers.Dense(2))


@architecture()
def default_arguments(k, data):
    names = ("LeakyReLU", "ELU", "PReLU", "ReLU", "BatchNormalization", "LayerNormalization", "UnitNormalization", "Softmax")
    layers = [layer for name in names for layer in (getattr(k.layers, name)(), k.layers.Dense(5))]
    return chain(k, data, (5,), *layers)


@architecture()
def channels_first(k, data):
    first = {"data_format": "channels_first"}
    layers = [k.layers.ZeroPadding2D(1, **first), k.layers.BatchNormalization(axis=1), k.layers.UpSampling2D((1, 2), **first)]
    return chain(k, data, (3, 4, 5), *layers, k.layers.Flatten(**first), k.layers.Dense(2))


@architecture()
def channels_first_pooling(k, data):
    layers = [
        k.layers.LayerNormalization(axis=1),
        k.layers.GlobalAveragePooling2D(data_format="channels_first"),
        k.layers.Dense(2),
    ]
    return chain(k, data, (3, 4, 5), *layers)


@architecture()
def odd_layer_names(k, data):
    return chain(
        k, data, (4,), k.layers.Dense(4, "relu", name="größe"), k.layers.Dense(4, name="a.b-c"), k.layers.Dense(2, name="7")
    )


@architecture()
def names_of_others(k, data):
    """Automatic names that contradict the order."""
    names = ("dense_2", "dense", "dense_1")
    return chain(k, data, (4,), *[k.layers.Dense(4, "tanh", name=name) for name in names])


@architecture()
def many_of_one_shape(k, data):
    x = k.Input((4,), name="x")
    y = x
    for number in range(12):  # block_10 and block_11 come before block_2 where names are sorted as text
        y = k.layers.Add()([y, k.layers.Dense(4, "tanh", name=f"block_{number}")(y)])
    return Made(model=k.Model(x, y), columns={"x": floats(data, 4)})


@architecture()
def large_constants(k, data):
    x = k.Input((4,), name="x")
    y = k.layers.Rescaling(1.0, offset=-1e6)(k.layers.Dense(4)(x))
    return Made(model=k.Model(x, k.layers.Softmax()(k.layers.Rescaling(1.0, offset=1e6)(y))), columns={"x": floats(data, 4)})


@architecture()
def whole_number_flags(k, data):
    x = k.Input((3,), dtype="int32", name="flags")
    y = k.layers.Dense(2)(k.layers.Rescaling(0.5)(x))
    return Made(model=k.Model(x, y), columns={"flags": data.integers(0, 2, (ROWS, 3)).astype(np.int32)})


@architecture(files=("keras", "h5", "weights_h5", "checkpoint"))
def averaged_weights(k, data):
    made = chain(k, data, (4,), k.layers.Dense(5, "relu"), k.layers.Dense(2))
    made.model.compile(k.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5), "mse")
    made.model.fit(made.columns["x"], floats(data, 2), epochs=2, verbose=0)
    return made


def _grouped(size, *, forget=False):
    """Calls a model whose batch is fixed: rows in groups, the last one filled up, each after the state was forgotten."""

    def feed(model, columns):
        (rows,) = (np.asarray(values) for values in columns.values())
        filled = np.concatenate([rows, np.zeros((-len(rows) % size, *rows.shape[1:]), rows.dtype)])
        parts = []
        for start in range(0, len(filled), size):
            for layer in model.layers if forget else ():
                getattr(layer, "reset_states", getattr(layer, "reset_state", lambda: None))()
            parts.append(np.asarray(model(filled[start : start + size], training=False)))
        return np.concatenate(parts)[: len(rows)]

    return feed


@architecture(files=("keras", "h5", "weights_h5", "legacy_weights"))
def fixed_batch(k, data):
    x = k.Input(batch_shape=(5, 4), name="x")
    y = k.layers.Dense(2)(k.layers.Reshape((4,))(k.layers.Dense(4, "tanh")(x)))
    return Made(model=k.Model(x, y), columns={"x": floats(data, 4)}, feed=_grouped(5))


@architecture(files=("keras", "h5", "weights_h5", "legacy_weights"))
def fixed_batch_of_one(k, data):
    x = k.Input(batch_shape=(1, 6, 6, 2), name="x")
    y = k.layers.Dense(2)(k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(3, 3)(x)))
    return Made(model=k.Model(x, y), columns={"x": floats(data, 6, 6, 2)}, feed=_grouped(1))


@architecture(files=("keras", "h5", "weights_h5", "legacy_weights"))
def stateful(k, data):
    x = k.Input(batch_shape=(4, 5, 3), name="x")
    y = k.layers.Dense(2)(k.layers.LSTM(3, stateful=True)(x))
    return Made(model=k.Model(x, y), columns={"x": floats(data, 5, 3)}, feed=_grouped(4, forget=True))


@architecture(only="keras", files=("keras", "h5", "weights_h5", "zip"))
def lora_enabled_late(k, data):
    made = chain(k, data, (6,), k.layers.Dense(5, name="low"), k.layers.EinsumDense("ab,bc->ac", output_shape=3, name="einsum"))
    for name in ("low", "einsum"):
        made.model.get_layer(name).enable_lora(2)
    return made


@architecture(only="keras", files=("keras", "zip"))
def mixed_bfloat16(k, data):
    policy = k.dtype_policies.DTypePolicy("mixed_bfloat16")
    return chain(k, data, (4,), k.layers.Dense(8, "relu", dtype=policy), k.layers.Dense(2, dtype="float32"))


@architecture(only="keras")
def masked_by_hand(k, data):
    x = k.Input((5, 3), name="x")
    mask = k.ops.any(k.ops.greater(x, 0.5), axis=-1)
    y = k.layers.LSTM(3)(x, mask=mask)
    return Made(model=k.Model(x, y), columns={"x": floats(data, 5, 3)})


@architecture(only="keras")
def constants_of_numpy(k, data):
    x = k.Input((4,), name="x")
    y = k.ops.matmul(x, np.random.default_rng(5).normal(size=(4, 3)).astype("float32"))
    return Made(model=k.Model(x, k.ops.add(y, k.layers.Dense(3)(x))), columns={"x": floats(data, 4)})


@architecture(own_code=True)
def own_whole_numbers(k, data):
    """A variable of whole numbers, one that is true or false, and one without axes."""
    made = chain(k, data, (4,), truth_layers.Permutes(name="permutes"), k.layers.Dense(3))
    layer = made.model.get_layer("permutes")
    layer.order.assign(data.permutation(4))
    layer.factor.assign(float(data.uniform(2, 3)))
    return made


@architecture(own_code=True)
def own_mask(k, data):
    x = k.Input((6,), dtype="int32", name="ids")
    y = truth_layers.MeanOfKept()(k.layers.Embedding(9, 3, mask_zero=True)(x))
    return Made(model=k.Model(x, k.layers.Dense(2)(y)), columns={"ids": data.integers(0, 9, (ROWS, 6)).astype(np.int32)})


@architecture(own_code=True, files=_KERAS_ARCHIVES)
def own_random_constant(k, data):
    """Another constant in each process: nobody can know it, so nobody may bless it."""
    return chain(k, data, (4,), truth_layers.RandomConstant(), k.layers.Dense(3))


@architecture(own_code=True, only="keras", files=_KERAS_ARCHIVES)
def own_untracked_variable(k, data):
    """TensorFlow's own variable on a layer of Keras 3, which does not save it."""
    layer = truth_layers.Untracked(name="untracked")
    made = chain(k, data, (4,), layer, k.layers.Dense(3))
    layer.factor.assign(3.5)
    return made


@architecture(own_code=True, files=("keras", "zip", "h5", "weights_h5", "legacy_weights"))
def own_table_in_h5(k, data):
    """What the layer keeps beside its variables; some kinds of file have no place for it."""
    layer = truth_layers.Remembers(name="table")
    layer.adapt(data.normal(size=(9, 4)))
    return chain(k, data, (4,), layer, k.layers.Dense(3))


@architecture(own_code=True, files=("keras", "zip", "weights_h5", "checkpoint"))
def own_functional(k, data):
    return Made(model=truth_subclasses.Functional(4), columns={"x": floats(data, 4)})


@architecture(own_code=True, files=("keras", "zip", "weights_h5", "checkpoint"))
def own_deep_subclassed(k, data):
    return Made(model=truth_subclasses.Deep(), columns={"x": floats(data, 4)})
