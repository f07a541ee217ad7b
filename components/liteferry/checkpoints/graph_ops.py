"""TensorFlow operations that an untrusted graph may contain, grouped by name with a reason for each group. All others are
refused.

From the registry of TensorFlow 2.21. `tests/checkpoints/test_names.py` checks that every registered operation is listed here or
among those that were reviewed and left out, so a new operation fails a test first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"})

# Tensors rearranged, selected and made from numbers in the graph. Not ImmutableConst, which maps a file into memory.
_ARRAYS = """
BatchMatrixBandPart BatchMatrixDiag BatchMatrixDiagPart BatchMatrixSetDiag BatchToSpace BatchToSpaceND Bitcast
BroadcastArgs BroadcastGradientArgs BroadcastTo CheckNumerics CheckNumericsV2 CompositeTensorVariantFromComponents
CompositeTensorVariantToComponents Concat ConcatOffset ConcatV2 ConjugateTranspose Const DebugGradientIdentity
DebugGradientRefIdentity DeepCopy DenseToDenseSetOperation DenseToSparseSetOperation DepthToSpace Dequantize Diag
DiagPart EditDistance Empty EmptyTensorList EmptyTensorMap EnsureShape ExpandDims ExtractImagePatches
ExtractVolumePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVars
FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel FakeQuantWithMinMaxVarsPerChannelGradient Fill
Fingerprint Gather GatherNd GatherV2 GuaranteeConst Identity IdentityN InplaceAdd InplaceSub InplaceUpdate
InvertPermutation ListDiff LowerBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad MirrorPadGrad OneHot OnesLike Pack
Pad PadV2 ParallelConcat Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient QuantizeAndDequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeAndDequantizeV4Grad QuantizeV2
QuantizedConcat QuantizedInstanceNorm QuantizedReshape Rank RefIdentity Reshape ResourceStridedSliceAssign Reverse
ReverseSequence ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd SetSize Shape ShapeN Size Slice Snapshot SpaceToBatch
SpaceToBatchND SpaceToDepth SparseToSparseSetOperation Split SplitV Squeeze StopGradient StridedSlice
StridedSliceAssign StridedSliceGrad TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList
TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorMapErase TensorMapHasKey TensorMapInsert
TensorMapLookup TensorMapSize TensorMapStackKeys TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
TensorScatterUpdate TensorStridedSliceUpdate Tile TileGrad Transpose Unique UniqueV2 UniqueWithCounts
UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""
# Arithmetic.
_NUMBERS = """
Abs AccumulateNV2 Acos Acosh Add AddManySparseToTensorsMap AddN AddSparseToTensorsMap AddV2 All Angle Any ApproxTopK
ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D AvgPool3DGrad AvgPoolGrad BandedTriangularSolve
BatchCholesky BatchCholeskyGrad BatchFFT BatchFFT2D BatchFFT3D BatchIFFT BatchIFFT2D BatchIFFT3D BatchMatMul BatchMatMulV2
BatchMatMulV3 BatchMatrixDeterminant BatchMatrixInverse BatchMatrixSolve BatchMatrixSolveLs BatchMatrixTriangularSolve
BatchNormWithGlobalNormalization BatchNormWithGlobalNormalizationGrad BatchSelfAdjointEig BatchSelfAdjointEigV2 BatchSvd
BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc
BiasAdd BiasAddGrad BiasAddV1 Bincount BitwiseAnd BitwiseOr BitwiseXor BlockLSTM BlockLSTMGrad BlockLSTMGradV2 BlockLSTMV2
Bucketize CSRSparseMatrixComponents CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor CTCBeamSearchDecoder
CTCGreedyDecoder CTCLoss CTCLossV2 Cast Ceil Cholesky CholeskyGrad ClipByValue Complex ComplexAbs Conj Conv Conv2D
Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropFilter
Conv3DBackpropFilterV2 Conv3DBackpropInput Conv3DBackpropInputV2 Cos Cosh Cross CudnnRNN CudnnRNNBackprop CudnnRNNBackpropV2
CudnnRNNBackpropV3 CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize CudnnRNNParamsToCanonical
CudnnRNNParamsToCanonicalV2 CudnnRNNV2 CudnnRNNV3 Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute
Dawsn DenseBincount DenseCountSparseOutput DenseToCSRSparseMatrix DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter
DepthwiseConv2dNativeBackpropInput DeserializeManySparse DeserializeSparse Digamma Dilation2D Dilation2DBackpropFilter
Dilation2DBackpropInput Div DivNoNan Eig Einsum Elu EluGrad Equal Erf Erfc Erfinv EuclideanNorm Exp Expint Expm1 FFT FFT2D
FFT3D FFTND Floor FloorDiv FloorMod FractionalAvgPool FractionalAvgPoolGrad FractionalMaxPool FractionalMaxPoolGrad
FresnelCos FresnelSin FusedBatchNorm FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2
FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell GRUBlockCellGrad Greater GreaterEqual
HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Igamma IgammaGradA Igammac Imag InTopK InTopKV2
Inv InvGrad Invert IsFinite IsInf IsNan IsotonicRegression KMC2ChainInitialization KmeansPlusPlusInitialization
KthOrderStatistic L2Loss LRN LRNGrad LSTMBlockCell LSTMBlockCellGrad LeakyRelu LeakyReluGrad LeftShift Less LessEqual Lgamma
LinSpace Log Log1p LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr Lu MakeUnique MatMul MatrixDeterminant
MatrixExponential MatrixInverse MatrixLogarithm MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max MaxPool
MaxPool3D MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradV2 MaxPoolGradGradWithArgmax
MaxPoolGradV2 MaxPoolGradWithArgmax MaxPoolV2 MaxPoolWithArgmax Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri
NearestNeighbors Neg NextAfter NotEqual NthElement Polygamma PopulationCount Pow Prod Qr QuantizeDownAndShrinkRange
QuantizedAdd QuantizedAvgPool QuantizedBatchNormWithGlobalNormalization QuantizedBiasAdd QuantizedConcatV2 QuantizedConv2D
QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize QuantizedConv2DAndRequantize QuantizedConv2DPerChannel
QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu QuantizedConv2DWithBiasAndReluAndRequantize
QuantizedConv2DWithBiasAndRequantize QuantizedConv2DWithBiasSignedSumAndReluAndRequantize QuantizedConv2DWithBiasSumAndRelu
QuantizedConv2DWithBiasSumAndReluAndRequantize QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias
QuantizedDepthwiseConv2DWithBiasAndRelu QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize QuantizedMatMul
QuantizedMatMulWithBias QuantizedMatMulWithBiasAndDequantize QuantizedMatMulWithBiasAndRelu
QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize QuantizedMaxPool QuantizedMul QuantizedRelu
QuantizedRelu6 QuantizedReluX RFFT RFFT2D RFFT3D RFFTND RaggedBincount RaggedCountSparseOutput RaggedCross
RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
RaggedTensorToTensor RaggedTensorToVariant RaggedTensorToVariantGradient Range Real RealDiv Reciprocal ReciprocalGrad Relu
Relu6 Relu6Grad ReluGrad RequantizationRange RequantizationRangePerChannel Requantize RequantizePerChannel RightShift Rint
Round Rsqrt RsqrtGrad SdcaFprint SdcaOptimizer SdcaOptimizerV2 SdcaShrinkL1 SegmentMax SegmentMaxV2 SegmentMean SegmentMin
SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2 SelfAdjointEig SelfAdjointEigV2 Selu SeluGrad
SerializeManySparse SerializeSparse Sigmoid SigmoidGrad Sign Sin Sinh SobolSample Softmax SoftmaxCrossEntropyWithLogits
Softplus SoftplusGrad Softsign SoftsignGrad SparseAdd SparseAddGrad SparseBincount SparseConcat SparseCountSparseOutput
SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows
SparseFillEmptyRowsGrad SparseMatMul SparseMatrixAdd SparseMatrixMatMul SparseMatrixMul SparseMatrixNNZ
SparseMatrixOrderingAMD SparseMatrixSoftmax SparseMatrixSoftmaxGrad SparseMatrixSparseCholesky SparseMatrixSparseMatMul
SparseMatrixTranspose SparseMatrixZeros SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse
SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanGrad SparseSegmentMeanGradV2 SparseSegmentMeanWithNumSegments
SparseSegmentSqrtN SparseSegmentSqrtNGrad SparseSegmentSqrtNGradV2 SparseSegmentSqrtNWithNumSegments SparseSegmentSum
SparseSegmentSumGrad SparseSegmentSumGradV2 SparseSegmentSumWithNumSegments SparseSlice SparseSliceGrad SparseSoftmax
SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd
SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix SparseToDense Spence Sqrt SqrtGrad Square SquaredDifference Sub Sum
Svd TakeManySparseFromTensorsMap Tan Tanh TanhGrad TopK TopKUnique TopKV2 TopKWithUnique TridiagonalMatMul TridiagonalSolve
TruncateDiv TruncateMod UniformDequantize UniformQuantize UniformQuantizedAdd UniformQuantizedClipByValue
UniformQuantizedConvolution UniformQuantizedConvolutionHybrid UniformQuantizedDot UniformQuantizedDotHybrid
UniformRequantize UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
"""
# Draws of classes. Not FixedUnigramCandidateSampler, which reads a vocabulary from a path.
_CANDIDATES = """
AllCandidateSampler ComputeAccidentalHits LearnedUnigramCandidateSampler LogUniformCandidateSampler
ThreadUnsafeUnigramCandidateSampler UniformCandidateSampler
"""
# Random numbers.
_RANDOM = """
Multinomial NonDeterministicInts ParameterizedTruncatedNormal RandomGamma RandomGammaGrad RandomIndexShuffle
RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip RngSkip
StatefulRandomBinomial StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
StatefulUniformFullInt StatefulUniformInt StatelessMultinomial StatelessParameterizedTruncatedNormal
StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle
StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
# Strings in memory, names of a saver's shards among them.
_TEXT = """
AsString DecodeBase64 EncodeBase64 ReduceJoin RegexFullMatch RegexReplace ShardedFilename ShardedFilespec
StaticRegexFullMatch StaticRegexReplace
StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket
StringToHashBucketFast StringToHashBucketStrong StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets
UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
# Images and sound, decoded and encoded in memory.
_MEDIA = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioMicrofrontend AudioSpectrogram CombinedNonMaxSuppression
CropAndResize CropAndResizeGradBoxes CropAndResizeGradImage DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg
DecodeJxl DecodePng DecodeWav DecodeWebP DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg EncodeJpegVariableQuality
EncodePng EncodeWav ExtractGlimpse ExtractGlimpseV2 ExtractJpegShape GenerateBoundingBoxProposals HSVToRGB
ImageProjectiveTransformV2 ImageProjectiveTransformV3 Mfcc NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps QuantizedResizeBilinear RGBToHSV RandomCrop ResizeArea
ResizeBicubic ResizeBicubicGrad ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad
SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 ScaleAndTranslate ScaleAndTranslateGrad
StatelessSampleDistortedBoundingBox
"""
# Numbers and tf.Examples out of strings in memory.
_PARSING = """
DecodeCSV DecodeCompressed DecodeJSONExample DecodePaddedRaw DecodeRaw ParseExample ParseExampleV2
ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample ParseTensor SerializeTensor
StringToNumber
"""
# Control flow, and calls of functions, whose bodies are scanned as well. Not Abort, which ends the process, nor RemoteCall.
_CONTROL = """
Batch BatchFunction Case ControlTrigger DeviceIndex Enter Exit FakeParam For If LoopCond MapDefun Merge NextIteration
NoOp OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone PartitionedCall RefEnter RefExit RefMerge
RefNextIteration RefSelect RefSwitch StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch
SymbolicGradient ToBool Unbatch UnbatchGrad While
"""
# Variables of the model, stacks, lists, tables in memory, and iterators, which only dataset operations could fill. Tables from
# files are checked one by one.
_STATE = """
AnonymousHashTable AnonymousIteratorV2 AnonymousIteratorV3 AnonymousMutableDenseHashTable AnonymousMutableHashTable
AnonymousMutableHashTableOfTensors Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp
ConsumeMutexLock CountUpTo DeleteIterator DestroyResourceOp DestroyTemporaryVariable DisableCopyOnRead DynamicPartition
DynamicStitch HashTable HashTableV2 InitializeTable InitializeTableV2 IsVariableInitialized IteratorGetNext
IteratorGetNextAsOptional IteratorGetNextSync IteratorV2 LookupTableExport LookupTableExportV2 LookupTableFind
LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2
LookupTableSize LookupTableSizeV2 MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors
MutableHashTableOfTensorsV2 MutableHashTableV2 MutexLock MutexV2 ParallelDynamicStitch ReadVariableOp ResourceCountUpTo
ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterDiv ResourceScatterMax ResourceScatterMin
ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub
ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul
ScatterNdAdd ScatterNdMax ScatterNdMin ScatterNdSub ScatterNdUpdate ScatterSub ScatterUpdate Stack StackClose StackCloseV2
StackPop StackPopV2 StackPush StackPushV2 StackV2 TemporaryVariable TensorArray TensorArrayClose TensorArrayCloseV2
TensorArrayCloseV3 TensorArrayConcat TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2
TensorArrayGatherV3 TensorArrayGrad TensorArrayGradV2 TensorArrayGradV3 TensorArrayGradWithShape TensorArrayPack
TensorArrayRead TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatter TensorArrayScatterV2 TensorArrayScatterV3
TensorArraySize TensorArraySizeV2 TensorArraySizeV3 TensorArraySplit TensorArraySplitV2 TensorArraySplitV3 TensorArrayUnpack
TensorArrayV2 TensorArrayV3 TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3 VarHandleOp VarIsInitializedOp Variable
VariableShape VariableV2
"""
# Steps of optimizers on variables of the model, which stand in graphs of TensorFlow 1.
_TRAINING = """
ApplyAdaMax ApplyAdadelta ApplyAdagrad ApplyAdagradDA ApplyAdagradV2 ApplyAdam ApplyAddSign ApplyCenteredRMSProp
ApplyFtrl ApplyFtrlV2 ApplyGradientDescent ApplyMomentum ApplyPowerSign ApplyProximalAdagrad
ApplyProximalGradientDescent ApplyRMSProp ResourceApplyAdaMax ResourceApplyAdadelta ResourceApplyAdagrad
ResourceApplyAdagradDA ResourceApplyAdagradV2 ResourceApplyAdam ResourceApplyAdamWithAmsgrad ResourceApplyAddSign
ResourceApplyCenteredRMSProp ResourceApplyFtrl ResourceApplyFtrlV2 ResourceApplyGradientDescent
ResourceApplyKerasMomentum ResourceApplyMomentum ResourceApplyPowerSign ResourceApplyProximalAdagrad
ResourceApplyProximalGradientDescent ResourceApplyRMSProp ResourceSparseApplyAdadelta ResourceSparseApplyAdagrad
ResourceSparseApplyAdagradDA ResourceSparseApplyAdagradV2 ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl
ResourceSparseApplyFtrlV2 ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum
ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent ResourceSparseApplyRMSProp
SparseApplyAdadelta SparseApplyAdagrad SparseApplyAdagradDA SparseApplyAdagradV2 SparseApplyCenteredRMSProp
SparseApplyFtrl SparseApplyFtrlV2 SparseApplyMomentum SparseApplyProximalAdagrad SparseApplyProximalGradientDescent
SparseApplyRMSProp
"""
# Boosted trees, kept in memory.
_FORESTS = """
BoostedTreesAggregateStats BoostedTreesBucketize BoostedTreesCalculateBestFeatureSplit
BoostedTreesCalculateBestFeatureSplitV2 BoostedTreesCalculateBestGainsPerFeature BoostedTreesCenterBias
BoostedTreesCreateEnsemble BoostedTreesCreateQuantileStreamResource BoostedTreesDeserializeEnsemble
BoostedTreesEnsembleResourceHandleOp BoostedTreesExampleDebugOutputs BoostedTreesFlushQuantileSummaries
BoostedTreesGetEnsembleStates BoostedTreesMakeQuantileSummaries BoostedTreesMakeStatsSummary BoostedTreesPredict
BoostedTreesQuantileStreamResourceAddSummaries BoostedTreesQuantileStreamResourceDeserialize
BoostedTreesQuantileStreamResourceFlush BoostedTreesQuantileStreamResourceGetBucketBoundaries
BoostedTreesQuantileStreamResourceHandleOp BoostedTreesSerializeEnsemble BoostedTreesSparseAggregateStats
BoostedTreesSparseCalculateBestFeatureSplit BoostedTreesTrainingPredict BoostedTreesUpdateEnsemble
BoostedTreesUpdateEnsembleV2 IsBoostedTreesEnsembleInitialized IsBoostedTreesQuantileStreamResourceInitialized
"""
# Checks, prints to the log, and summaries as strings. PrintV2 is checked: it may print into a file.
_TOLD = """
Assert AudioSummary AudioSummaryV2 HistogramSummary ImageSummary MergeSummary Print PrintV2 ScalarSummary
TensorSummary TensorSummaryV2 Timestamp
"""
# Marks for TPUs and copies between devices; without the device they do nothing, or have no kernel.
_DEVICES = """
Copy CopyHost SyncDevice TPUCompilationResult TPUOrdinalSelector TPUPartitionedCall TPUPartitionedInput
TPUPartitionedInputV2 TPUPartitionedOutput TPUPartitionedOutputV2 TPUReplicateMetadata TPUReplicatedInput
TPUReplicatedOutput XlaSpmdFullToShardShape XlaSpmdShardToFullShape
"""

HARMLESS = frozenset(
    name
    for group in (
        _ARRAYS,
        _NUMBERS,
        _CANDIDATES,
        _RANDOM,
        _TEXT,
        _MEDIA,
        _PARSING,
        _CONTROL,
        _STATE,
        _TRAINING,
        _FORESTS,
        _TOLD,
        _DEVICES,
    )
    for name in group.split()
)

# Whether these are harmless depends on their inputs, which `graph_scan` checks.
TABLES_FROM_FILES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
RESTORING = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
_PROTOS = ("DecodeProtoV2", "EncodeProto")
_STREAMS = (b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")  # else a file's path, or what a caller gives
_KNOWN_PROTOS = (b"local://", b"bytes://")  # else their attribute is the path of a file with descriptors


def is_harmless(operation: str, attributes: Any) -> bool:
    """Whether an operation computes and does nothing else.

    Args:
      operation: its name.
      attributes: of the node, name -> AttrValue.
    """
    if operation in _PROTOS:
        return bool(attributes["descriptor_source"].s.startswith(_KNOWN_PROTOS))
    if operation == "PrintV2":
        return "output_stream" not in attributes or attributes["output_stream"].s in _STREAMS
    return operation in HARMLESS


def told(operation: str) -> str:
    """The words for an operation in a refusal."""
    if operation in PYTHON_OPERATIONS:
        return "Python code, which is not in the file"
    return "not known to compute only: it may reach files, other machines or the process"


def harmful_in(node_def: Any) -> Iterator[str]:
    """The operation of a NodeDef (a dict or a text in a config) unless it is harmless; `?` for anything that is not a NodeDef."""
    if isinstance(node_def, list) and node_def:
        node_def = node_def[-1]
    if isinstance(node_def, str) and node_def.lstrip().startswith("{"):
        try:
            node_def = json.loads(node_def)
        except ValueError:
            node_def = None
    if isinstance(node_def, str):
        node_def = _parsed(node_def)
    operation = node_def.get("op") if isinstance(node_def, dict) else None
    if not isinstance(operation, str):
        yield "?"
    elif operation not in HARMLESS or operation == "PrintV2" or _names_functions(node_def):
        yield operation


def _names_functions(node_def: dict[str, Any]) -> bool:
    """Whether a node names functions. A layer's node has no function library, so the name would refer to another function in
    the process.
    """
    return '"func"' in json.dumps(node_def.get("attr", {}))


def _parsed(node_def: str) -> dict[str, Any] | None:
    """A NodeDef in protobuf's own bytes, which old files hold as text."""
    from google.protobuf import json_format
    from tensorflow.core.framework import node_def_pb2

    try:
        parsed: dict[str, Any] = json_format.MessageToDict(node_def_pb2.NodeDef.FromString(node_def.encode()))
    except Exception:  # noqa: BLE001  # protobuf raises a class of its backend's own
        return None
    return parsed
