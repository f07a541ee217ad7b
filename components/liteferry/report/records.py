"""report.json and fleet.json as records, key by key, as this version writes them.

They are typed dictionaries, since a report is JSON that people and tools read. docs/schema is made of them
(`python -m tools.make_schemas`), and docs/reports.md says what each key means. Older and foreign reports are read with
`liteferry.lenient` instead. A key that reports of 0.1.0 do not have is NotRequired.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

Number = float | None
Text = str | None
Integer = int | None
# Types of texts and numbers with fixed sets of values.
Count = Annotated[int, {"minimum": 0}]
SchemaVersion = Annotated[int, 1]
ModelStatus = Annotated[str, "blessed", "not_blessed", "failed"]
SavedModelStatus = Annotated[str, "blessed", "not_blessed"]
VariantStatus = Annotated[str, "blessed", "not_blessed", "unverifiable", "failed"]
OpinionStatus = Annotated[str, "equal", "different", "none"]


class ReasonFacts(TypedDict):
    code: str
    stage: str
    message: str


class CustomObject(TypedDict):
    """A class or function of the user's that the checkpoint needed."""

    name: str
    module: str
    source_digest: Text
    package_version: Text


class Checkpoint(TypedDict):
    uri: str
    kind: Text
    digest: Text
    bytes: Integer
    keras_version: Text
    architecture_digest: Text
    weights: Text
    custom_objects: list[CustomObject]


class Samples(TypedDict):
    name: str
    path: Text
    row_count: int
    digest: Text


class ReferenceMetric(TypedDict):
    value: Number
    interval: NotRequired[list[Number] | None]


class TaskMetrics(TypedDict):
    """Task metrics of the checkpoint itself."""

    reference: dict[str, ReferenceMetric]
    slices: dict[str, dict[str, ReferenceMetric]]
    row_counts: dict[str, int]
    problems: list[str]
    path: Text


class ArtifactMetric(TypedDict):
    """A task metric of an artifact, beside the checkpoint's."""

    value: Number
    reference: Number
    change: Number
    interval: NotRequired[list[Number] | None]
    limit: dict[str, float] | None
    is_within: bool | None


HistogramPart = TypedDict("HistogramPart", {"from": Number, "to": Number, "count": int})
Flip = TypedDict("Flip", {"from": int, "to": int, "count": int})


class OutputParity(TypedDict):
    """The statistics of one output. Those of `parity/statistics` come on top."""

    kind: NotRequired[Text]
    rank: NotRequired[Integer]
    example_count: int
    element_count: int
    compared_count: NotRequired[int]
    mismatch_count: int
    exact_agreement: Number
    max_abs: Number
    max_rel: Number
    max_abs_reference: Number
    mean_abs: Number
    rmse: Number
    sqnr_db: Number
    column_sqnr_db: NotRequired[Number]
    worst_column: NotRequired[Integer]
    worst_column_last: NotRequired[Integer]
    worst_column_spread: NotRequired[Number]
    worst_column_rmse: NotRequired[Number]
    columns_judged: NotRequired[int]
    row_agreement: NotRequired[Number]
    rows_lost: NotRequired[Integer]
    cosine: Number
    p50_abs: Number
    p90_abs: Number
    p99_abs: Number
    p999_abs: Number
    error_histogram: list[HistogramPart]
    argmax_agreement: Number
    class_recall: NotRequired[Number]
    worst_class: NotRequired[Integer]
    worst_class_positions: NotRequired[Integer]
    worst_class_kept: NotRequired[Integer]
    classes_judged: NotRequired[int]
    classes_too_rare: NotRequired[int]
    classes_lost: NotRequired[int]
    rare_classes: NotRequired[list[str]]
    topk: Integer
    topk_agreement: Number
    flip_count: Integer
    flips: list[Flip]
    flip_pairs: Integer
    kl_mean: Number
    kl_max: Number
    kl_infinite: Integer
    nonfinite_reference: int
    nonfinite_candidate: int
    nonfinite_mismatch: int
    constant_reference: bool
    constant_candidate: bool
    same_rows_reference: bool
    same_rows_candidate: bool
    zero_reference: bool
    zero_candidate: bool


class SliceParity(TypedDict):
    row_count: int
    parity: dict[str, OutputParity]


class Slices(TypedDict):
    """Statistics by slice, and rows in slices that are not kept, by the columns that cut them."""

    slices: dict[str, SliceParity]
    rows_not_in_slices: dict[str, int]


class WorstExampleFacts(TypedDict):
    output: str
    id: str
    row: int
    max_abs: Number
    reference: list[str]
    candidate: list[str]


class GateFacts(TypedDict):
    output: str
    metric: str
    limit: Number
    observed: Number
    is_within: bool
    source: str


class Scatter(TypedDict):
    reference: list[float]
    candidate: list[float]


class TensorFacts(TypedDict):
    name: str
    shape: list[Integer] | None
    dtype: str


class SignatureFacts(TypedDict):
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class Speed(TypedDict):
    checkpoint_rows_per_s: Number
    saved_model_rows_per_s: Number
    ratio: Number


class SecondOpinionFacts(TypedDict):
    status: OpinionStatus
    max_rel: Number
    rows: int
    by: Text
    why: Text
    code: Text


class Compared(Slices):
    """Keys of both the SavedModel and variants: their comparison with the checkpoint."""

    reason: ReasonFacts | None
    metrics: dict[str, ArtifactMetric]
    metric_slices: dict[str, dict[str, ArtifactMetric]]
    worst_examples: list[WorstExampleFacts]
    scatter: dict[str, Scatter]
    gates: list[GateFacts]


class SavedModelReport(Compared):
    path: Text
    bytes: int
    status: SavedModelStatus
    signature: str
    signatures: dict[str, SignatureFacts]
    together: NotRequired[SignatureFacts | None]
    speed: Speed
    per_call_outputs: list[str]
    oracle: str
    deterministic: bool | None
    second_opinion: SecondOpinionFacts | None
    fidelity: dict[str, OutputParity]


class KeptWeights(TypedDict):
    operator: str
    elements: int


class Held(TypedDict):
    """The contents of a .tflite file."""

    weights: dict[str, int] | None
    elementwise: int
    operators: dict[str, int]
    kept: list[KeptWeights]


class ContractTensor(TypedDict):
    name: str
    position: int
    tensor_index: int
    tensor_name: str
    dtype: str
    shape: list[Integer] | None
    scale: Number
    zero_point: Integer


class ContractSides(TypedDict):
    inputs: list[ContractTensor]
    outputs: list[ContractTensor]


class ContractFacts(ContractSides):
    signatures: NotRequired[dict[str, ContractSides]]


class AttemptFacts(TypedDict):
    lowering: str
    status: str
    message: Text


class Diverging(TypedDict):
    tensor: str
    layers: list[str]
    operator: str
    position: int
    max_abs: Number
    relative: Number


class TensorErrorFacts(TypedDict):
    tensor: str
    operator: str
    position: int
    relative: Number


class Latency(TypedDict, total=False):
    """Empty where it was not measured."""

    p50: float
    p99: float
    rows_per_s: float
    p50_all_threads: float
    p99_all_threads: float
    rows_per_s_all_threads: float
    threads: int
    runs: int
    load: float
    measured_on: str


class SensitivityFacts(TypedDict):
    name: str
    operator: str
    elements: int
    format: str
    sqnr_db: Number


class TriedMix(TypedDict):
    formats: dict[str, int]
    bytes: Integer
    holds: bool
    on: str
    why: Text


class AutoFacts(TypedDict):
    """The result and the attempts of the search for `auto`."""

    mix: dict[str, str]
    formats: dict[str, int]
    recipe: list[dict[str, Any]]
    sensitivity: list[SensitivityFacts]
    tried: list[TriedMix]
    candidates: int
    is_complete: bool
    from_family: bool
    trained_ranges: NotRequired[bool]
    search_rows: int
    proof_rows: int
    rows_are_apart: bool
    float32_bytes: int


class TwinReport(TypedDict):
    """The float32 twin of a model in another format, beside the checkpoint."""

    of: str
    max_rel_limit: float
    rounds_inputs: NotRequired[bool]
    parity: dict[str, OutputParity]


class TargetVariant(TypedDict):
    status: VariantStatus
    reason: ReasonFacts | None
    arena_bytes: Integer
    parity: dict[str, OutputParity] | None
    lacking: list[str]
    npu_share: Number
    sram_bytes: Integer
    cycles: Number
    inferences_per_s: Number
    why: Text


class TargetReport(TypedDict):
    how: str
    recommended_variant: Text
    why: str
    trade_off: Text
    variants: dict[str, TargetVariant]


class VariantReport(Compared):
    status: VariantStatus
    path: Text
    bytes: Integer
    batch: str | int | None
    ops: dict[str, int] | None
    weights: dict[str, int] | None
    quantizer: Text
    held: NotRequired[Held | None]
    auto: NotRequired[AutoFacts | None]
    quantized_share: Number
    contract: ContractFacts | None
    attempts: list[AttemptFacts]
    diverging: list[Diverging]
    tensor_errors: NotRequired[list[TensorErrorFacts]]
    latency_ms: Latency
    activation_bytes: Integer
    parity: dict[str, OutputParity]


class ShownInput(TypedDict):
    values: list[str]
    image: Text
    shape: list[int] | None
    dtype: str


class WorstRow(TypedDict):
    id: str
    row: int
    inputs: dict[str, ShownInput]


class PassedOver(TypedDict):
    variant: str
    bytes: Integer
    code: Text
    saves: NotRequired[Number]


class FileFacts(TypedDict):
    sha256: str
    bytes: int


class BatchNoise(TypedDict):
    max_abs: Number
    max_rel: Number


class KernelNoise(BatchNoise):
    counts: bool


class ReferenceNoise(TypedDict):
    rows: int
    batch_sizes: list[int]
    outputs: dict[str, BatchNoise]


class Float32Noise(TypedDict):
    rows: int
    kernels: str
    outputs: dict[str, KernelNoise]


class NoiseFloors(TypedDict):
    reference: ReferenceNoise | None
    float32: Float32Noise | None


class LimitFacts(TypedDict):
    seconds: float
    memory_bytes: int
    disk_bytes: int


class JudgedReport(TypedDict):
    """A report before its model's files are listed in it."""

    schema_version: SchemaVersion
    rules_version: NotRequired[int]
    model_id: str
    status: ModelStatus
    reason: ReasonFacts | None
    checkpoint: Checkpoint
    metadata: dict[str, Any]
    samples: Samples | None
    metrics: TaskMetrics | None
    saved_model: SavedModelReport | None
    twin: NotRequired[TwinReport | None]
    variants: dict[str, VariantReport]
    targets: NotRequired[dict[str, TargetReport]]
    worst_rows: list[WorstRow]
    recommended_variant: Text
    passed_over: list[PassedOver]
    required_variants: list[str]
    warnings: list[str]
    version: int
    export_digest: Text
    noise_floor: NoiseFloors
    recipe_digest: str
    work_digest: NotRequired[str]
    unlabelled_digest: NotRequired[str]
    judged_by: NotRequired[dict[str, Any]]
    judged_before: NotRequired[dict[str, Any] | None]
    takes_back: NotRequired[dict[str, Any] | None]
    kept_versions: NotRequired[list[int]]
    held_back: NotRequired[dict[str, Any] | None]
    nonfinite: NotRequired[dict[str, Any]]
    input_ranges: NotRequired[dict[str, list[float]]]
    limits: LimitFacts
    environment: dict[str, Text]
    timings_s: dict[str, float]
    peak_memory_bytes: int


class ModelReport(JudgedReport):
    """One model. See docs/reports.md."""

    files: dict[str, FileFacts]


class MetricSummary(TypedDict):
    value: Number
    change: Number
    is_within: bool | None


class VariantSummary(TypedDict):
    status: VariantStatus
    reason: ReasonFacts | None
    path: Text
    bytes: Integer
    batch: Text
    worst_max_abs: Number
    min_argmax_agreement: Number
    example_count: Integer
    latency_ms: Number
    metrics: NotRequired[dict[str, MetricSummary]]


class ModelSummary(TypedDict):
    model_id: str
    checkpoint_uri: Text
    kind: Text
    status: ModelStatus
    reason: ReasonFacts | None
    recommended_variant: Text
    saved_model: dict[str, Any] | None
    variants: dict[str, VariantSummary]
    warnings: list[str]
    held_back: NotRequired[dict[str, Any] | None]


class AutoTotals(TypedDict):
    """The cost of the searches for `auto`, in files, and the savings of families."""

    searched: Count
    from_family: Count
    candidates: Count
    candidates_saved: Count


class Totals(TypedDict):
    models: Count
    blessed: Count
    not_blessed: Count
    failed: Count
    by_reason: dict[str, Count]
    by_variant: dict[str, dict[str, Count]]
    auto: NotRequired[AutoTotals]


class FleetReport(TypedDict):
    """The models of one run. See docs/reports.md."""

    schema_version: SchemaVersion
    totals: Totals
    models: list[ModelSummary]
    rows: list[dict[str, Any]]
    changes: NotRequired[dict[str, Any] | None]
    run: dict[str, Any] | None


class TotalsInParts(Totals):
    held_back: Count
    warned: Count


class Example(TypedDict):
    """A model for which a message was said; `page` is relative to OUT."""

    model_id: str
    variant: Text
    page: str


class MessageOfReason(TypedDict):
    stage: str
    text: str
    count: Count
    examples: list[Example]


class ReasonOfFleet(TypedDict):
    code: str
    models: Count
    messages: list[MessageOfReason]
    has_more: bool


class PartOfFleet(TypedDict):
    """A file with rows: its path below OUT, its models from `first` to `last`, and its digest."""

    path: str
    models: Count
    rows: Count
    first: str
    last: str
    bytes: Count
    sha256: str


class FleetSummary(TypedDict):
    """The models of one run, counted; their rows are in parts. See docs/reports.md."""

    schema_version: Annotated[int, {"const": 2}]
    totals: TotalsInParts
    reasons: list[ReasonOfFleet]
    notes: list[str]
    parts: list[PartOfFleet]
    changes: dict[str, list[dict[str, Any]]] | None
    change_counts: dict[str, Count] | None
    run: dict[str, Any] | None
