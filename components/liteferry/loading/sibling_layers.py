"""Layers whose whole state is in their variables, so that siblings can share one trace.

Everything that Python computed during tracing is constant in a trace: adapted statistics, tables, seeds. Afterwards only
variables can change. So a family shares a trace only where every node of its architecture is on these lists; any other model is
built and traced separately. `tests/checkpoints/test_sibling_layers.py` builds, traces, saves, changes and loads each layer in
both libraries, and requires that each layer of the libraries is either here or in `KEPT_APART` with its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

LAYERS = frozenset(
    {
        "Activation",
        "ActivityRegularization",
        "Add",
        "AdditiveAttention",
        "AlphaDropout",
        "Attention",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "AveragePooling3D",
        "BatchNormalization",
        "Bidirectional",
        "CenterCrop",
        "Concatenate",
        "Conv1D",
        "Conv1DTranspose",
        "Conv2D",
        "Conv2DTranspose",
        "Conv3D",
        "Conv3DTranspose",
        "ConvLSTM1D",
        "ConvLSTM2D",
        "ConvLSTM3D",
        "Cropping1D",
        "Cropping2D",
        "Cropping3D",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "ELU",
        "EinsumDense",
        "Embedding",
        "Flatten",
        "GRU",
        "GRUCell",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalAveragePooling3D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "GlobalMaxPooling3D",
        "GroupNormalization",
        "GroupQueryAttention",
        "GroupedQueryAttention",
        "Identity",
        "LSTM",
        "LSTMCell",
        "LayerNormalization",
        "LeakyReLU",
        "Masking",
        "MaxPooling1D",
        "MaxPooling2D",
        "MaxPooling3D",
        "Maximum",
        "Minimum",
        "MultiHeadAttention",
        "Multiply",
        "PReLU",
        "Permute",
        "RMSNormalization",
        "RNN",
        "RandomContrast",
        "RandomFlip",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "ReLU",
        "RepeatVector",
        "Rescaling",
        "Reshape",
        "Resizing",
        "SeparableConv1D",
        "SeparableConv2D",
        "SimpleRNN",
        "SimpleRNNCell",
        "Softmax",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "StackedRNNCells",
        "Subtract",
        "ThresholdedReLU",
        "TimeDistributed",
        "UnitNormalization",
        "UpSampling1D",
        "UpSampling2D",
        "UpSampling3D",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
    }
)

_ADAPTED = "state is adapted to data and lies beside the variables that the graph reads"
_CODE = "runs or loads something that the architecture does not say"
_BASE = "a base class or a function, no layer of an architecture"
_RANDOM = "rare augmentation, whose settings at inference were not compared"
_COMPUTED = "holds constants that Python computed when it was built"
KEPT_APART = {
    "AbstractRNNCell": _BASE,
    "AdaptiveAveragePooling1D": _COMPUTED,
    "AdaptiveAveragePooling2D": _COMPUTED,
    "AdaptiveAveragePooling3D": _COMPUTED,
    "AdaptiveMaxPooling1D": _COMPUTED,
    "AdaptiveMaxPooling2D": _COMPUTED,
    "AdaptiveMaxPooling3D": _COMPUTED,
    "AugMix": _RANDOM,
    "AutoContrast": _RANDOM,
    "CategoryEncoding": _ADAPTED,
    "ContrastLimitedAdaptiveHistogramEqualization": _COMPUTED,
    "CutMix": _RANDOM,
    "DenseFeatures": _ADAPTED,
    "Discretization": _ADAPTED,
    "Equalization": _RANDOM,
    "FlaxLayer": _CODE,
    "HashedCrossing": _ADAPTED,
    "Hashing": _ADAPTED,
    "IntegerLookup": _ADAPTED,
    "JaxLayer": _CODE,
    "Lambda": _CODE,
    "Layer": _BASE,
    "LocallyConnected1D": _COMPUTED,
    "LocallyConnected2D": _COMPUTED,
    "MaxNumBoundingBoxes": _RANDOM,
    "MelSpectrogram": _COMPUTED,
    "MixUp": _RANDOM,
    "Normalization": _ADAPTED,
    "Pipeline": _RANDOM,
    "RandAugment": _RANDOM,
    "RandomBrightness": _RANDOM,
    "RandomColorDegeneration": _RANDOM,
    "RandomColorJitter": _RANDOM,
    "RandomCrop": _RANDOM,
    "RandomElasticTransform": _RANDOM,
    "RandomErasing": _RANDOM,
    "RandomGaussianBlur": _RANDOM,
    "RandomGrayscale": _RANDOM,
    "RandomHeight": _RANDOM,
    "RandomHue": _RANDOM,
    "RandomInvert": _RANDOM,
    "RandomPerspective": _RANDOM,
    "RandomPosterization": _RANDOM,
    "RandomSaturation": _RANDOM,
    "RandomSharpness": _RANDOM,
    "RandomShear": _RANDOM,
    "RandomWidth": _RANDOM,
    "ReversibleEmbedding": "one variable or two, by its settings, for two uses",
    "STFTSpectrogram": _COMPUTED,
    "Solarization": _RANDOM,
    "SpectralNormalization": "what it wraps is changed by calls, beside the variables",
    "StringLookup": _ADAPTED,
    "TFSMLayer": _CODE,
    "TextVectorization": _ADAPTED,
    "TorchModuleWrapper": _CODE,
    "Wrapper": _BASE,
}

_CONTAINERS = frozenset({"Functional", "InputLayer", "Model", "Sequential"})
_HELPERS = frozenset(
    {
        "__tensor__",
        "__keras_tensor__",
        "Constant",
        "DTypePolicy",
        "FloatDTypePolicy",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "L1",
        "L1L2",
        "L2",
        "LecunNormal",
        "LecunUniform",
        "MaxNorm",
        "MinMaxNorm",
        "NonNeg",
        "Ones",
        "Orthogonal",
        "Policy",
        "RandomNormal",
        "RandomUniform",
        "TruncatedNormal",
        "UnitNorm",
        "VarianceScaling",
        "Zeros",
    }
)
_ACTIVATIONS = frozenset(
    {
        "celu",
        "elu",
        "exponential",
        "gelu",
        "glu",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softmax",
        "softplus",
        "softsign",
        "sparse_plus",
        "squareplus",
        "swish",
        "tanh",
        "tanh_shrink",
        "threshold",
    }
)
_LIBRARY_ROOTS = ("keras", "tf_keras", "builtins")


def kept_apart(config: Any, *, claimed: Collection[str] = ()) -> str | None:
    """The first part of an architecture that prevents sharing a trace; None where every part is on the lists.

    Args:
      config: parsed JSON, without training's settings.
      claimed: names for which the job supplies its own object.
    """
    return next(_problems(config, frozenset(claimed)), None)


def _problems(config: Any, claimed: frozenset[str]) -> Iterator[str]:
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from _of_node(node, claimed)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _of_node(node: dict[str, Any], claimed: frozenset[str]) -> Iterator[str]:
    if node.get("stateful"):
        yield f"the layer {node.get('name')!r} keeps state between calls"
    for key, value in node.items():
        if key.endswith("activation") and isinstance(value, str) and (value not in _ACTIVATIONS or value in claimed):
            yield f"the activation {value!r} is on no list"
        if isinstance(value, str) and key.endswith("_type") and value == "lambda":
            yield "Python bytecode"
    if "class_name" not in node:
        return
    name, module, registered, inner = (node.get(key) for key in ("class_name", "module", "registered_name", "config"))
    is_librarys = module is None or (isinstance(module, str) and module.split(".")[0] in _LIBRARY_ROOTS)
    if not is_librarys or registered not in (None, inner if name == "function" else name):
        yield f"{name!r} of {module or registered!r} is not the library's own"
    if name == "function":
        known = inner in _ACTIVATIONS and inner not in claimed
    else:
        known = isinstance(name, str) and name in LAYERS | _CONTAINERS | _HELPERS and name not in claimed
    if not known:
        yield f"{inner if name == 'function' else name!r} is on no list of layers whose whole state is their variables"
