"""Where serving_default needs what LiteRT lacks, the fix names a signature that converts, and none that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from liteferry.checkpoints import graph_scan
from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.exporting import other_signatures
from liteferry.loading import graph_model
from liteferry.loading.model import LoadedModel
from liteferry.tflite.lowering import LoweringOptions


class Trainer(tf.Module):
    """`serve` parses tf.Examples, `hashed` takes texts: neither converts. `device` takes numbers."""

    def __init__(self) -> None:
        self.weight = tf.Variable([[1.0], [2.0]])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: Any) -> Any:
        return {"y": tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"] @ self.weight}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def hashed(self, words: Any) -> Any:
        return {"y": tf.strings.to_hash_bucket_fast(words, 7)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def device(self, x: Any) -> Any:
        return {"y": x @ self.weight}


def loaded(folder: Path, *names: str) -> LoadedModel:
    trainer = Trainer()
    signatures = {"serving_default": trainer.serve, **{name: getattr(trainer, name) for name in names}}
    tf.saved_model.save(trainer, str(folder / "model"), signatures)
    return graph_model.load(str(folder / "model"), graph_scan.read(str(folder / "model")))


def reason(code: ReasonCode) -> Reason:
    return Reason(code=code, stage=Stage.CONVERT, message="it needs more")


@pytest.mark.parametrize(("names", "is_named"), [(("device", "hashed"), True), (("hashed",), False)])
def test_the_signature_that_converts_is_named(tmp_path: Path, names: tuple[str, ...], is_named: bool) -> None:
    model = loaded(tmp_path, *names)
    assert other_signatures.may_help(model, reason(ReasonCode.NEEDS_FLEX))
    advice = other_signatures.advice(model, LoweringOptions())
    assert (advice is not None) == is_named
    if advice is not None:
        assert "Its signature 'device' can be converted" in advice and "--signature device" in advice
        assert "hashed" not in advice


def test_only_missing_operators_are_a_reason_to_look(tmp_path: Path) -> None:
    model = loaded(tmp_path, "device")
    assert not other_signatures.may_help(model, reason(ReasonCode.CONVERT_FAILED))
    assert not other_signatures.may_help(model, None)
    assert not other_signatures.may_help(loaded(tmp_path / "alone"), reason(ReasonCode.NEEDS_FLEX))
