"""Names that an architecture may use, by the kind of object expected at that place. Other names are refused, or must be the
user's.

These names are harmless wherever they stand in Keras 3 and tf_keras: layers, initializers, functions of tensors. Other public
names of both libraries (`get`, `deserialize`, `model_from_json`, `load_model`, file functions) are left out.
`tests/checkpoints/test_names.py` checks the lists against the installed libraries: every name there is classified, and every name
here means nothing else in them.
"""

from __future__ import annotations

import functools

from liteferry.checkpoints.keras_names import ACTIVATIONS, LAYERS, MADE_BY_KERAS

# Keys of training settings. Nothing below them is built for inference, see `config_scan.without_training`.
TRAINING_KEYS = ("compile_config", "training_config")

# Layers that do more than compute with what is in the checkpoint.
FOREIGN_LAYERS = {
    "TFSMLayer": "loads a SavedModel from a path",
    "TorchModuleWrapper": "unpickles a Torch module",
    "JaxLayer": "calls a function of JAX's that the file names",
    "FlaxLayer": "makes a module of Flax's that the file names",
    "ModuleWrapper": "wraps a module that is not in the file",
}
_MORE_LAYERS = """
BaseImageAugmentationLayer BaseRandomLayer BatchNormalizationV1 BatchNormalizationV2 ConvLSTM1DCell ConvLSTM2DCell
ConvLSTM3DCell Cross DeviceWrapper DropoutWrapper Feature FeatureSpace GRUCellV1 GRUCellV2 GRUV1 GRUV2 LSTMCellV1 LSTMCellV2
LSTMV1 LSTMV2 LinearModel PreprocessingLayer RandomFourierFeatures ResidualWrapper SequenceFeatures SyncBatchNormalization
TFDConcat TFDIdentity WideDeepModel
"""
_INITIALIZERS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones Orthogonal
OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling Zeros constant
glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform ones orthogonal random_normal
random_uniform stft truncated_normal variance_scaling zeros
"""
_REGULARIZERS = """
L1 L1L2 L2 OrthogonalRegularizer l1 l1_l2 l2 orthogonal_regularizer
"""
_CONSTRAINTS = """
MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm max_norm min_max_norm non_neg radial_constraint unit_norm
"""
_DTYPES = """
AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy Int4DTypePolicy Policy PolicyV1 QuantizedDTypePolicy
QuantizedFloat8DTypePolicy
"""
_QUANTIZERS = """
AWQConfig AbsMaxQuantizer Float8QuantizationConfig GPTQConfig GPTQQuantizer Int4QuantizationConfig Int8QuantizationConfig
QuantizationConfig
"""
_COLUMNS = """
BucketizedColumn CrossedColumn EmbeddingColumn HashedCategoricalColumn IdentityCategoricalColumn IndicatorColumn NumericColumn
SequenceCategoricalColumn SequenceNumericColumn SharedEmbeddingColumn VocabularyFileCategoricalColumn
VocabularyListCategoricalColumn WeightedCategoricalColumn
"""
_DATA = """
CompositeTensor TensorShape TypeSpec __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__
__typespec__ slice
"""
# Operations of Keras 3 in a model built from tensors: its classes in keras.src.ops, without those that take a function.
_OPERATIONS = """
Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose Amax Amin Angle Any Append Arange Arccos
Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit Average AveragePool
BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift
BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast CategoricalCrossentropy Cbrt Ceil Celu Cholesky CholeskyInverse Clip
Concatenate Conj Conjugate Conv ConvTranspose ConvertToTensor Copy Corrcoef Correlate Cos Cosh CountNonzero CropImages Cross
Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot
DotProductAttention Dsplit Dstack Eig Eigh Einsum ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims
Expm1 ExtractPatches ExtractSequences FFT FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike
GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater GreaterEqual HSVToRGB HardShrink HardSigmoid HardSilu HardTanh Heaviside
Histogram Hsplit Hstack Hypot I0 IFFT2 IRFFT ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf
Isreal Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid LogSoftmax
Logaddexp Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor MapCoordinates
Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments Moveaxis MultiHot Multiply NanToNum
Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum
Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual OneHot OnesLike Outer PSNR Pad PadImages Percentile
PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT RGBToGrayscale RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange
Reciprocal Relu Relu6 Repeat Reshape Resize RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD SaturateCast ScaleAndTranslate
Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin SegmentProd SegmentSum Select Selu SeparableConv Sigmoid Sign
Signbit Silu Sin Sinc Sinh Size Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign Solve
SolveTriangular Sort SpaceToDepth SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split Sqrt Square
Squareplus Squeeze Stack Std StopGradient Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold
Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex Unstack Vander Var Vdot View
ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
FakeQuantWithMinMaxVars
"""
# Functions of tensors, in keras.ops and elsewhere.
_FUNCTIONS = """
abs absolute adaptive_average_pool adaptive_max_pool add affine_transform all allclose amax amin angle any append arange
arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argpartition argsort array array_split average
average_pool bartlett batch_normalization binary_crossentropy bincount bitwise_and bitwise_invert bitwise_left_shift
bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman broadcast_to cast cbrt cdist ceil celu cholesky
cholesky_inverse clip concatenate conj conjugate conv conv_transpose convert_to_tensor copy corrcoef correlate cos cosh
count_nonzero crop_images cross ctc_decode ctc_loss cumprod cumsum deg2rad depth_to_space depthwise_conv det diag diagflat
diagonal diff digitize divide divide_no_nan dot dot_product_attention dsplit dstack eig eigh einsum elastic_transform elu
empty empty_like equal erf erfc erfinv exp exp2 expand_dims expm1 extract_patches extract_patches_3d extract_sequences eye
fabs fft fft2 flip fliplr flipud floor floor_divide fmax fmin fmod fold full full_like gaussian_blur gcd gelu geomspace
get_item glu greater greater_equal hamming hanning hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh heaviside
histogram hsplit hstack hsv_to_rgb hypot i0 identity ifft2 imag in_top_k inner inv irfft isclose isfinite isin isinf isnan
isneginf isposinf isreal istft kaiser kron layer_normalization lcm ldexp leaky_relu left_shift less less_equal linspace log
log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logdet logical_and logical_not logical_or logical_xor logspace
logsumexp lstsq lu_factor map_coordinates matmul matrix_rank max max_pool maximum mean median meshgrid min minimum mod
moments moveaxis multi_hot multiply nan_to_num nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin
nanpercentile nanprod nanquantile nanstd nansum nanvar ndim negative nextafter nonzero norm normalize not_equal one_hot ones
ones_like outer pad pad_images percentile perspective_transform pinv polar power prod psnr ptp qr quantile rad2deg ravel
real rearrange reciprocal relu relu6 repeat reshape resize rfft rgb_to_grayscale rgb_to_hsv right_shift rms_normalization
roll rot90 round rsqrt saturate_cast scale_and_translate scatter scatter_update searchsorted segment_max segment_min
segment_prod segment_sum select selu separable_conv shape sigmoid sign signbit silu sin sinc sinh size slice slice_update
slogdet sobel_edges soft_shrink softmax softplus softsign solve solve_triangular sort space_to_depth sparse_plus
sparse_sigmoid sparsemax split sqrt square squareplus squeeze ssim stack std stft stop_gradient subtract sum svd swapaxes
swish take take_along_axis tan tanh tanh_shrink tensordot threshold tile top_k trace transpose trapezoid tri tril triu
true_divide trunc unfold unique unravel_index unstack vander var vdot view view_as_complex view_as_real vsplit vstack where
zeros zeros_like
"""
_LOSSES = """
" BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy
CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity Dice Hinge Huber KLDivergence LogCosh
MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
SparseCategoricalCrossentropy SquaredHinge Tversky
"""
_LOSS_FUNCTIONS = """
binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy categorical_hinge
cosine_similarity hinge huber kl_divergence log_cosh logcosh mean_absolute_error mean_absolute_percentage_error
mean_squared_error mean_squared_logarithmic_error poisson sparse_categorical_crossentropy squared_hinge
"""


def _set(*texts: str) -> frozenset[str]:
    return frozenset(name for text in texts for name in text.split())


INITIALIZERS, REGULARIZERS, CONSTRAINTS = _set(_INITIALIZERS), _set(_REGULARIZERS), _set(_CONSTRAINTS)
DTYPES, QUANTIZERS, COLUMNS, DATA = _set(_DTYPES), _set(_QUANTIZERS), _set(_COLUMNS), _set(_DATA)
OPERATIONS, LOSSES = _set(_OPERATIONS), _set(_LOSSES)
FUNCTIONS = _set(_FUNCTIONS, _LOSS_FUNCTIONS) | ACTIVATIONS
BUILT = (LAYERS | MADE_BY_KERAS | _set(_MORE_LAYERS) | OPERATIONS) - FOREIGN_LAYERS.keys()
ANYTHING = BUILT | INITIALIZERS | REGULARIZERS | CONSTRAINTS | DTYPES | QUANTIZERS | COLUMNS | DATA | LOSSES

# For objects of the libraries: which classes may be found under a key.
_ENDINGS = {"_initializer": INITIALIZERS, "_regularizer": REGULARIZERS, "_constraint": CONSTRAINTS, "_quantizer": QUANTIZERS}
_KEYS = {
    "activation": BUILT,
    "backward_layer": BUILT,
    "build_config": DATA | DTYPES,
    "cell": BUILT,
    "cells": BUILT,
    "constraint": CONSTRAINTS,
    "dtype": DTYPES,
    "dtype_policy": DTYPES,
    "feature_columns": COLUMNS,
    "forward_layer": BUILT,
    "inbound_nodes": DATA | DTYPES,
    "initializer": INITIALIZERS,
    "layer": BUILT,
    "layers": BUILT,
    "recurrent_activation": BUILT,
    "regularizer": REGULARIZERS,
}
# Keys whose value is a file name that the built object opens.
PATHS = frozenset({"vocabulary", "vocabulary_file", "ckpt_to_load_from", "filepath", "file_path", "vocab_file", "idf_weights"})


def expected(key: str, inherited: frozenset[str]) -> frozenset[str]:
    """The classes that are allowed under a key of a library's object; `inherited` if the key does not determine them."""
    found = _of_key(key)
    return inherited if found is None else found


@functools.lru_cache(maxsize=4096)
def _of_key(key: str) -> frozenset[str] | None:
    return _KEYS.get(key) or next((names for ending, names in _ENDINGS.items() if key.endswith(ending)), None)
