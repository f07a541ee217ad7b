"""Models for the weights tests, by either library: each builder as it was trained, and as somebody has changed it since.

Uploaded as a user's module by the cases; plain names, no import of the product.
"""

import importlib

import numpy as np


def _k(library):
    return importlib.import_module(library)


def heads(library, reordered=False, names=("mean", "scale")):
    """Two parallel layers of equal shapes. Reordered: the other one is made first and named first among the outputs."""
    k = _k(library)
    a = k.Input((4,), name="x")
    made = {}
    for name in reversed(names) if reordered else names:
        activation = "softplus" if name == names[1] else None
        made[name] = k.layers.Dense(4, activation=activation, name=name)(a)
    return k.Model(a, [made[name] for name in (reversed(names) if reordered else names)])


def counted_heads(library, reordered=False, before=0):
    """The same with names that the library counts, after some other layers."""
    k = _k(library)
    for _ in range(before):
        k.layers.Dense(1)
    a = k.Input((4,), name="x")
    first = k.layers.Dense(4, activation="softplus" if reordered else None)(a)
    second = k.layers.Dense(4, activation=None if reordered else "softplus")(a)
    return k.Model(a, [second, first] if reordered else [first, second])


def chain(library, layers=3, names="h{}", units=4, before=0):
    """Layers of equal shapes one after the other."""
    k = _k(library)
    for _ in range(before):
        k.layers.Dense(1)
    a = k.Input((4,), name="x")
    h = a
    for number in range(layers):
        h = k.layers.Dense(units, activation="tanh", name=names.format(number) if names else None)(h)
    return k.Model(a, k.layers.Dense(units, name="y")(h))


def funnel(library, first="wide", before=0):
    """Layers of which no two have the same shapes."""
    k = _k(library)
    for _ in range(before):
        k.layers.Dense(1)
    a = k.Input((4,), name="x")
    h = k.layers.Dense(7, activation="tanh", name=first)(a)
    h = k.layers.BatchNormalization()(h)
    return k.Model(a, k.layers.Dense(2, name="y")(k.layers.Dense(5, activation="relu")(h)))


def transfer(library, freeze=False):
    """A nested base whose layers have the same few shapes, partly frozen when it was saved."""
    k = _k(library)
    a = k.Input((4,))
    h = k.layers.Dense(4, activation="tanh", name="b1")(a)
    h = k.layers.BatchNormalization(name="n1")(h)
    h = k.layers.Dense(4, activation="tanh", name="b2")(h)
    base = k.Model(a, k.layers.LayerNormalization(name="n2")(h), name="base")
    if freeze:
        base.get_layer("b1").trainable = False
        base.get_layer("n1").trainable = False
    x = k.Input((4,), name="x")
    return k.Model(x, k.layers.Dense(2, name="y")(base(x)))


def wrapped(library, before=0):
    """Shared, wrapped and recurrent layers."""
    k = _k(library)
    for _ in range(before):
        k.layers.Dense(1)
    x = k.Input((3, 4), name="x")
    shared = k.layers.Dense(4, activation="tanh", name="shared")
    h = k.layers.TimeDistributed(shared, name="steps")(x)
    h = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True), name="both")(h)
    h = k.layers.RNN([k.layers.GRUCell(4), k.layers.LSTMCell(3)], return_sequences=True, name="cells")(h)
    h = k.layers.Bidirectional(k.layers.GRU(2), name="both_again")(h)
    return k.Model(x, k.layers.Dense(2, name="y")(h))


def subclassed(library, reordered=False, heads_in_list=True):
    """Attributes and a list of layers; a dense one before and one behind `layers` in the alphabet."""
    k = _k(library)

    class Net(k.Model):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.body = k.layers.Dense(5, activation="tanh")
            self.many = [k.layers.Dense(3), k.layers.Dense(2)]
            self.tower = k.Sequential([k.layers.Dense(3, activation="relu"), k.layers.Dense(2)])

        def call(self, x):
            h = self.body(x)
            return self.many[1](self.many[0](h)) + self.tower(h)

    net = Net()
    net(np.zeros((1, 4), "float32"))
    return net


def blocks(library):
    """A layer of the user's with layers inside and weights of its own; nobody names any of them."""
    k = _k(library)

    class Block(k.layers.Layer):  # type: ignore[name-defined]
        def __init__(self, **kw):
            super().__init__(**kw)
            self.first = k.layers.Dense(4, activation="tanh")
            self.second = k.layers.Dense(4)

        def build(self, shape):
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
            self.shift = self.add_weight(shape=(4,), initializer="zeros", name="shift", trainable=False)
            super().build(shape)

        def call(self, x):
            return self.second(self.first(x)) * self.scale + self.shift

    a = k.Input((4,), name="x")
    return k.Model(a, k.layers.Dense(2, name="y")(Block(name="two")(Block(name="one")(a))))


def stateful(library):
    """A recurrent layer that remembers from call to call; what it remembers is no weight."""
    k = importlib.import_module(library)
    x = k.Input((5, 3), batch_size=8, name="x")
    return k.Model(x, k.layers.Dense(2, name="y")(k.layers.LSTM(4, stateful=True, name="lstm")(x)))


def reshaping(library, dense=False):
    """Layers without variables."""
    k = _k(library)
    a = k.Input((4,), name="x")
    h = k.layers.Reshape((2, 2))(k.layers.Dropout(0.5)(a))
    h = k.layers.Flatten()(k.layers.UpSampling1D(2)(h))
    return k.Model(a, k.layers.Dense(3)(h) if dense else h)
