"""Reports as report.json holds them: blessed, not blessed, failed with next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

Report = dict[str, Any]

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; raises when tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.style = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"</{tag}> closes something else"
        if tag in ("td", "th", "dt", "dd"):
            self.text += " "

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.style += data
        elif self._open and self._open[-1] == "script":
            self.script += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self) -> str:
        return " ".join(self.text.split())


def statistics(max_abs: float, *, argmax_agreement: float | None = 1.0, cosine: float = 1.0, **changes: Any) -> Report:
    return {
        "example_count": 1797,
        "element_count": 17970,
        "max_abs": max_abs,
        "mean_abs": max_abs / 11,
        "rmse": max_abs / 7,
        "max_rel": max_abs * 21,
        "sqnr_db": 128.4,
        "cosine": cosine,
        "argmax_agreement": argmax_agreement,
        "nonfinite_reference": 0,
        "nonfinite_candidate": 0,
        "nonfinite_mismatch": 0,
        "p50_abs": max_abs / 30,
        "p99_abs": max_abs / 2,
        **changes,
    }


def gate(metric: str, limit: float, observed: float | None, is_within: bool, output: str = "probabilities") -> Report:
    return {"metric": metric, "output": output, "limit": limit, "observed": observed, "is_within": is_within}


def metric(value: float, reference: float, limit: dict[str, float] | None, *, is_within: bool | None) -> Report:
    return {"value": value, "reference": reference, "change": value - reference, "limit": limit, "is_within": is_within}


def variant(
    name: str, size: int, max_abs: float, *, agreement: float = 1.0, cosine: float = 1.0, batch: Any = "dynamic"
) -> Report:
    quantised = {"quantization": {"scale": 0.00390625, "zero_point": -128}} if name == "int8" else {}
    dtype = "int8" if name == "int8" else "float32"
    return {
        "status": "blessed",
        "reason": None,
        "path": f"tflite/{name}.tflite",
        "bytes": size,
        "batch": batch,
        "ops": {"CONV_2D": 2, "MAX_POOL_2D": 2, "RESHAPE": 1, "FULLY_CONNECTED": 2, "SOFTMAX": 1},
        "contract": {
            "inputs": [{"name": "image", "shape": [None, 8, 8, 1], "dtype": dtype, "index": 0, **quantised}],
            "outputs": [{"name": "probabilities", "shape": [None, 10], "dtype": dtype, "index": 0, **quantised}],
        },
        "parity": {"probabilities": statistics(max_abs, argmax_agreement=agreement, cosine=cosine)},
        "worst_examples": [
            {"id": "digit-0911", "row": 911, "output": "probabilities", "max_abs": max_abs},
            {"id": "digit-1402", "output": "probabilities", "max_abs": max_abs * 0.93},
        ],
        "metrics": {"accuracy": metric(0.9827, 0.9833, {"max_drop": 0.01}, is_within=True)},
        "metric_slices": {
            "label:3": {"accuracy": metric(0.96, 0.98, {"max_drop": 0.01}, is_within=False)},
            "label:4": {"accuracy": metric(1.0, 1.0, {"max_drop": 0.01}, is_within=True)},
        },
        "gates": [
            gate("max_abs", 1e-5 if name == "float32" else 0.05, max_abs, True),
            gate("argmax_agreement", 0.98, agreement, True),
        ],
        "latency_ms": {"p50": 0.041, "p95": 0.06},
        "attempts": [{"lowering": "dynamic batch", "status": "converted", "message": None}],
    }


def blessed_report(model_id: str = "cnn_17") -> Report:
    return {
        "schema_version": 1,
        "model_id": model_id,
        "status": "blessed",
        "reason": None,
        "checkpoint": {
            "uri": f"gs://fleet/checkpoints/2026-07/{model_id}.keras",
            "kind": "keras_v3",
            "digest": "sha256:9f2b7c55d0a1e3f84b6a7d19c2e0f5a4b8c3d6e1f09a2b7c55d0a1e3f84b6a7d",
            "bytes": 98_304,
            "keras_version": "3.15.1",
            "architecture_digest": "sha256:41ac20d6",
            "custom_objects": [{"name": "Swish", "module": "my_models", "source_digest": None, "package_version": None}],
        },
        "metadata": {"team": "vision", "dataset": "digits-v3", "learning_rate": 0.001, "layers": [32, 64]},
        "samples": {"name": "digits", "row_count": 1797, "digest": "sha256:5be1"},
        "saved_model": {
            "path": "saved_model/1",
            "bytes": 151_200,
            "signatures": {
                "serving_default": {
                    "inputs": [{"name": "image", "shape": [None, 8, 8, 1], "dtype": "float32"}],
                    "outputs": [{"name": "probabilities", "shape": [None, 10], "dtype": "float32"}],
                }
            },
            "fidelity": {"probabilities": statistics(0.0)},
            "status": "blessed",
            "reason": None,
            "oracle": "keras",
            "deterministic": True,
            "second_opinion": {"status": "equal", "max_rel": 0.0, "rows": 8, "by": "keras 3.15.1", "why": None, "code": None},
            "gates": [gate("max_abs", 1e-6, 0.0, True)],
        },
        "variants": {  # as sort_keys leaves them
            "dynamic_int8": variant("dynamic_int8", 21_344, 0.0121, agreement=0.99944, cosine=0.9999991),
            "float16": variant("float16", 42_104, 3.1e-4),
            "float32": variant("float32", 83_520, 1.24e-7),
            "int8": variant("int8", 22_100, 0.0412, agreement=0.98331, cosine=0.99981),
        },
        "recommended_variant": "dynamic_int8",
        "required_variants": ["float32", "dynamic_int8"],
        "recipe_digest": "sha256:c0ffee",
        "limits": {"seconds": 900.0, "memory_bytes": 8_000_000_000},
        "peak_memory_bytes": 1_210_000_000,
        "warnings": [],
        "environment": {
            "python": "3.11.7",
            "tensorflow": "2.21.0",
            "keras": "3.15.1",
            "tf_keras": "2.21.0",
            "ai_edge_litert": "2.3.0",
            "apache_beam": "2.77.0",
            "tensorflow_model_analysis": "0.52.0",
        },
        "timings_s": {"load": 0.21, "export": 0.74, "convert": 1.31, "evaluate": 2.2},
    }


def not_blessed_report(model_id: str = "gru_speech_003") -> Report:
    report = blessed_report(model_id)
    int8 = report["variants"]["int8"]
    message = "output 'probabilities': argmax_agreement is 0.97996 on 1,797 rows, the limit is 0.98; worst row digit-0911"
    int8["status"] = "not_blessed"
    int8["reason"] = {"code": "PARITY_OUT_OF_TOLERANCE", "stage": "judge", "message": message}
    int8["parity"]["probabilities"] |= {"argmax_agreement": 0.97996, "max_abs": 0.312}
    int8["gates"] = [gate("max_abs", 0.5, 0.312, True), gate("argmax_agreement", 0.98, 0.97996, False)]
    flex_message = (
        "the graph needs Select TensorFlow ops, which no runtime here runs: FlexTensorListReserve, FlexTensorListSetItem"
    )
    report["variants"]["float16"] |= {
        "status": "unverifiable",
        "reason": {"code": "NEEDS_FLEX", "stage": "convert", "message": flex_message},
        "parity": {},
        "gates": [],
        "metrics": {},
        "latency_ms": {},
        "worst_examples": [],
        "batch": 1,
    }
    report["variants"]["float32"]["attempts"] = [
        {
            "lowering": "dynamic batch",
            "status": "failed",
            "message": "'tf.TensorListReserve' op requires element_shape to be static during TF Lite transformation pass",
        },
        {"lowering": "batch fixed at 1", "status": "converted", "message": None},
    ]
    report["variants"]["float32"]["batch"] = 1
    report["status"] = "not_blessed"
    report["required_variants"] = ["float32", "float16", "dynamic_int8", "int8"]
    report["reason"] = {"code": "PARITY_OUT_OF_TOLERANCE", "stage": "judge", "message": f"int8: {message}"}
    report["warnings"] = ["The checkpoint was written by Keras 2.9.0; it was loaded with tf_keras 2.21.0."]
    return report


def failed_report(model_id: str = "broken_3") -> Report:
    """As a model leaves it that died while loading: no artifact, no numbers."""
    message = "checkpoints/broken_3.keras: not a zip archive (4,096 bytes):\n  end-of-central-directory record not found"
    return {
        "schema_version": 1,
        "model_id": model_id,
        "status": "failed",
        "reason": {"code": "LOAD_CORRUPT", "stage": "load", "message": message},
        "checkpoint": {"uri": f"checkpoints/{model_id}.keras", "kind": None, "digest": None, "bytes": 4096},
        "metadata": {},
        "saved_model": None,
        "variants": {},
        "recommended_variant": None,
    }


@pytest.fixture
def blessed() -> Callable[..., Report]:
    return blessed_report


@pytest.fixture
def not_blessed() -> Callable[..., Report]:
    return not_blessed_report


@pytest.fixture
def failed() -> Callable[..., Report]:
    return failed_report


@pytest.fixture
def reports() -> list[Report]:
    """One of each, in no order."""
    return [not_blessed_report(), failed_report(), blessed_report()]


@pytest.fixture
def read_page() -> type[Page]:
    """Parses a page and checks that its tags nest."""
    return Page
