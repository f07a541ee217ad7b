"""Operations of a TensorFlow graph that reach outside it: files, other machines, Python. Known by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator

PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"})

# Operations that write, delete or read files, or talk to somebody, other than a SavedModel's own variables and vocabularies.
_FILE_OPERATIONS = frozenset(
    {
        "WriteFile",
        "ReadFile",
        "MatchingFiles",
        "Save",
        "SaveSlices",
        "SaveV2",
        "MergeV2Checkpoints",
        "Restore",
        "RestoreSlice",
        "RestoreV2",
        "LMDBReader",
        "LMDBDataset",
        "SqlDataset",
        "TextLineReader",
        "TextLineReaderV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "WholeFileReader",
        "WholeFileReaderV2",
        "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2",
        "LoadAndRemapMatrix",
        "GenerateVocabRemapping",
        "LookupTableExportToFile",
        "RemoteCall",
        "SummaryWriter",
        "FlushSummaryWriter",
        "CloseSummaryWriter",
        "ConfigureGcs",
        "GcsConfigureCredentials",
        "GcsConfigureBlockCache",
        "FileSystemSetConfiguration",
    }
)
_FILE_PATTERN = re.compile(
    r"(TextLine|TFRecord|FixedLengthRecord|CSV|Cache|Snapshot|Save|Load|Bigtable|BigQuery)(Dataset|Reader)\w*$"
    r"|Dataset\w*To(TFRecord|File)\w*$|(DistributedSave|SnapshotDatasetReader|SnapshotNestedDatasetReader)$"
    r"|Create\w*SummaryFileWriter|Create\w*SummaryDbWriter|Write\w*Summary\w*$|ImportEvent$|RegisterDataset|DataServiceDataset"
    r"|^Debug\w*Identity\w*$|^Debug(NanCount|NumericSummary)\w*$|^(Grpc|Rpc|TryRpc)"
)


def reaches_outside(operation: str) -> bool:
    """Whether an operation touches files, other machines or Python."""
    return operation in PYTHON_OPERATIONS or operation in _FILE_OPERATIONS or bool(_FILE_PATTERN.search(operation))


def named_file_operations(text: str) -> Iterator[str]:
    """The operations of that kind that a serialized NodeDef mentions, as text or as base64-free bytes."""
    for word in dict.fromkeys(re.findall(r"[A-Z][A-Za-z0-9]+", text)):
        if reaches_outside(word):
            yield word
