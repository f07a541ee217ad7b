"""The metrics that a job may name without a module, and which direction of each is better. They are listed here so that a job can
be checked without TFMA.

A test compares this table with TFMA's registry and tf_keras.metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from liteferry.errors import nearest_name

HIGHER_IS_BETTER = "higher_is_better"
LOWER_IS_BETTER = "lower_is_better"

_HIGHER = """
    AUC AUCPrecisionRecall Accuracy BalancedAccuracy BinaryAccuracy BinaryIoU Bleu COCOAveragePrecision COCOAverageRecall
    COCOMeanAveragePrecision COCOMeanAverageRecall CategoricalAccuracy CoefficientOfDiscrimination CosineSimilarity
    DiagnosticOddsRatio ExactMatch F1Score FBetaScore FowlkesMallowsIndex Informedness IoU Markedness
    MatthewsCorrelationCoefficient MaxRecall MeanIoU ModelCosineSimilarity NDCG NPV NegativePredictiveValue
    ObjectDetectionMaxRecall ObjectDetectionPrecision ObjectDetectionPrecisionAtRecall ObjectDetectionRecall OneHotIoU
    OneHotMeanIoU PPV PositiveLikelihoodRatio Precision PrecisionAtRecall R2Score Recall RecallAtFalsePositiveRate
    RecallAtPrecision RelativeCoefficientOfDiscrimination Rouge SensitivityAtSpecificity SetMatchPrecision SetMatchRecall
    SparseCategoricalAccuracy SparseTopKCategoricalAccuracy Specificity SpecificityAtSensitivity SquaredPearsonCorrelation
    TN TNR TP TPR ThreatScore TopKCategoricalAccuracy TrueNegatives TruePositives
"""

_LOWER = """
    BinaryCrossEntropy BinaryCrossentropy BooleanFlipRates CategoricalCrossEntropy CategoricalCrossentropy CategoricalHinge
    FN FNR FP FPR FallOut FalseDiscoveryRate FalseNegatives FalseOmissionRate FalsePositives Hinge KLDivergence LogCoshError
    MeanAbsoluteError MeanAbsolutePercentageError MeanRelativeError MeanSquaredError MeanSquaredLogarithmicError
    MinLabelPosition MissRate NegToPosFlipRate NegativeLikelihoodRatio Poisson PosToNegFlipRate RootMeanSquaredError
    SparseCategoricalCrossentropy SquaredHinge SymmetricFlipRate SymmetricPredictionDifference
"""

# Counts, plots and descriptions: neither higher nor lower is better.
_NEITHER = """
    Calibration CalibrationPlot ConfusionMatrixAtThresholds ConfusionMatrixPlot ExampleCount FalseNegativeFeatureSampler
    FalsePositiveFeatureSampler Mean MeanAbsoluteAttributions MeanAttributions MeanLabel MeanPrediction MeanTensor
    MultiClassConfusionMatrixAtThresholds MultiClassConfusionMatrixPlot MultiLabelConfusionMatrixPlot NegToNegFlipRate
    ObjectDetectionConfusionMatrixPlot ObjectDetectionThresholdAtRecall PosToPosFlipRate PredictedPositiveRate Prevalence
    PrevalenceThreshold QueryStatistics ScoreDistributionPlot SemanticSegmentationConfusionMatrix
    SemanticSegmentationFalsePositive SemanticSegmentationTruePositive Sum ThresholdAtRecall TotalAbsoluteAttributions
    TotalAttributions WeightedExampleCount
"""

# Class name -> which direction is better; None for neither.
DIRECTIONS: Mapping[str, str | None] = MappingProxyType(
    {
        **dict.fromkeys(_HIGHER.split(), HIGHER_IS_BETTER),
        **dict.fromkeys(_LOWER.split(), LOWER_IS_BETTER),
        **dict.fromkeys(_NEITHER.split(), None),
    }
)

# Computed from predictions, or from columns that their config names.
_NO_LABEL = """
    BooleanFlipRates ExampleCount MeanPrediction ModelCosineSimilarity NegToNegFlipRate NegToPosFlipRate
    PosToNegFlipRate PosToPosFlipRate QueryStatistics SymmetricFlipRate SymmetricPredictionDifference WeightedExampleCount
"""
NEEDS_NO_LABEL = frozenset(_NO_LABEL.split())

# Rates of predictions that cross a threshold between the checkpoint and an artifact.
COMPARES_MODELS = frozenset(("NegToNegFlipRate", "NegToPosFlipRate", "PosToNegFlipRate", "PosToPosFlipRate", "SymmetricFlipRate"))


def nearest(class_name: str) -> str:
    """`did_you_mean` among the known metrics, whatever the case and with or without underscores."""
    spelled = {name.lower(): name for name in DIRECTIONS}
    found = nearest_name(class_name.lower().replace("_", ""), spelled)
    return "" if found is None else f" (did you mean {spelled[found]}?)"
