"""A traced model -> one float flatbuffer by way of a SavedModel, which keeps what freezing removes: tables and their
initializers, variables that are assigned, an input that is also an output, one tensor under two names.

It is slower than a frozen graph, and keeps the names of the signature by itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import saved_functions
from liteferry.loading.tracing import TracedModel
from liteferry.tflite import converter_errors, converter_options, flatbuffer, rewriting

_FUSED = frozenset(
    {
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "LSTM",
    }
)


# TensorFlow orders graphs by the names of their signatures. An interpreter runs the first one by default, and so do runtimes that
# know no signatures.
_FIRST = "0"


class SavedModelGraph:
    """A traced function that is saved anew for every conversion, with the values that its variables have then."""

    def __init__(
        self,
        traced: TracedModel,
        *,
        keep: Any,
        layers: Mapping[str, str] | None = None,
        more_signatures: Mapping[str, Any] | None = None,
    ) -> None:
        """`keep`: searched for the tables that the graph uses. `layers`: layer name -> class, for the words of errors.
        `more_signatures`: ConcreteFunctions that are put into the same file.
        """
        self._traced = traced
        self._keep = keep
        self._layers = layers or {}
        self._more_signatures = dict(more_signatures or {})

    def refresh(self) -> None:
        """Nothing to do: saving reads the variables."""

    def convert(
        self, *, metadata: Mapping[str, Any] | None = None, quantization: str | None = None, select_tf_ops: bool = False
    ) -> bytes:
        """As `FrozenGraph.convert`.

        Raises:
          ModelError: NEEDS_FLEX, CONVERT_UNSUPPORTED_OP or CONVERT_FAILED; the last, too, where LiteRT's fused recurrent
            operators came about, which clip the cell state at 10 and keep it between invocations.
        """
        import tensorflow as tf
        from tensorflow.lite.python.convert_phase import ConverterError

        names = [_FIRST if self._more_signatures else flatbuffer.SIGNATURE_KEY, *self._more_signatures]
        try:
            with self._saved(names) as directory:
                converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=names)
                if select_tf_ops:
                    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
                if quantization is not None:
                    converter_options.quantize(converter, quantization)
                content = bytes(converter.convert())
        except ConverterError as error:
            raise converter_errors.conversion_error(error, self._layers) from error
        except Exception as error:
            raise converter_errors.other_error(error) from error
        if self._more_signatures:
            content = rewriting.with_signature_renamed(content, _FIRST, flatbuffer.SIGNATURE_KEY)
            names[0] = flatbuffer.SIGNATURE_KEY
        there = flatbuffer.signature_names(content)
        if sorted(there) != sorted(names) or not flatbuffer.is_main_graph(
            content, flatbuffer.SIGNATURE_KEY
        ):  # TensorFlow may drop some silently
            message = f"came out with the signatures {', '.join(there) or 'none'}, and should have {', '.join(names)}"
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message)
        fused = sorted(_FUSED & flatbuffer.count_operators(content).keys())
        if fused:
            message = f"came out with {', '.join(fused)}, which clips its state and keeps it between invocations"
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message)
        return rewriting.embed_metadata(content, metadata)

    @contextlib.contextmanager
    def _saved(self, names: list[str]) -> Iterator[str]:
        functions = dict(zip(names, [self._traced.function, *self._more_signatures.values()], strict=True))
        with tempfile.TemporaryDirectory() as folder:
            directory = os.path.join(folder, "saved_model")
            saved_functions.write(functions, directory, keep=self._keep)
            yield directory
