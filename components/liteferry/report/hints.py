"""The next step for each reason code, one short paragraph each. Text between backticks is code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from liteferry.errors import ReasonCode

HINTS: Mapping[ReasonCode, str] = MappingProxyType(
    {
        ReasonCode.LOAD_CORRUPT: (
            "The file cannot be read as what it claims to be. Copy it again from where it was made and compare sizes; a "
            "training run that was killed while it saved leaves such files. Then run again: finished models are not redone."
        ),
        ReasonCode.LOAD_UNSAFE: (
            "Loading this checkpoint would run code that is stored inside it. If you know who made it, add what the message "
            "names to `trust:` in the job file, for example `trust: [lambda]`. Better: save the model again with a registered "
            "layer in place of the lambda or the pickle."
        ),
        ReasonCode.LOAD_UNKNOWN_OBJECT: (
            "Put the Python file that defines the class or function under `modules:` in the job file. If its name there "
            'differs from the name in the checkpoint, map it under `custom_objects:`, for example `{"Swish2": '
            '"my_models:Swish"}`.'
        ),
        ReasonCode.LOAD_UNKNOWN_OPERATION: (
            "The file is sound; its graph needs an operation of another package. Install the package where the job runs and name "
            "it under `modules:`, for example `modules: [tensorflow_text]`: importing it registers the operation."
        ),
        ReasonCode.LOAD_NEEDS_BUILDER: (
            "The file holds weights and no architecture. Name a function that returns the model without its weights: "
            '`builder: "my_models:build"`, with its arguments under `builder_args:`.'
        ),
        ReasonCode.LOAD_UNSUPPORTED: (
            "LiteFerry cannot load this file. If it is not a checkpoint, narrow the glob under `checkpoints:`. "
            "Otherwise `liteferry inspect` shows what was recognised; save the model again as `.keras` or as a SavedModel."
        ),
        ReasonCode.WEIGHTS_MISMATCH: (
            "The file's arrays do not match the model's variables; the message lists both sides, nearest names "
            "side by side. Build the model with the code and the `builder_args:` of the training run, layer names included. "
            "Where names were only changed since and the order is surely right, `weights: by_position` in the `models` entry "
            "says so."
        ),
        ReasonCode.LOAD_FAILED: (
            "Compare the Keras version that wrote the checkpoint with the ones under Environment. With a `builder:`, check "
            "that `builder_args:` are those of the training run: other sizes make other weights. `liteferry inspect` shows "
            "what the file holds without running it."
        ),
        ReasonCode.EXPORT_FAILED: (
            "The model loads but cannot be traced. Call it once under `tf.function` with `training=False`: Python branches on "
            "tensors and NumPy calls inside `call()` are the usual cause."
        ),
        ReasonCode.EXPORT_NONDETERMINISTIC: (
            "Two calls on the same rows gave different answers, so no export can be proven. Some layer draws random numbers "
            "at inference: make it follow `training`, or take it out of the model before saving."
        ),
        ReasonCode.EXPORT_BATCH_DEPENDENT: (
            "The same row has another answer when other rows stand beside it, and servers and devices group rows as they come. "
            "Export the model with training=False, and compute statistics within each row; or save it with a fixed batch size."
        ),
        ReasonCode.EXPORT_MISMATCH: (
            "The SavedModel computes something else than the checkpoint; the parity table shows by how much. Look at custom "
            "layers that keep state in Python or behave differently when traced. Do not ship this export."
        ),
        ReasonCode.TARGET_UNSUPPORTED: (
            "The target has no kernel for an operator of this file, or not in this format; the message quotes it. For "
            "`microcontroller` list `int8` under `variants:`: it has neither float16 nor weights that are widened while it runs."
        ),
        ReasonCode.CONVERT_UNSUPPORTED_OP: (
            "TFLite has no such operator. Replace the layer that uses it, or move it out of the model into pre- or "
            "post-processing. Where the SavedModel is within its gates, it can be served as it is."
        ),
        ReasonCode.CONVERT_FAILED: (
            "The converter failed; Attempts lists what was tried. If you can do without the variant, leave it out of "
            "`variants:`, or out of `policy.require:` so that the model does not depend on it. Where the SavedModel is within "
            "its gates, it can be served as it is."
        ),
        ReasonCode.NEEDS_FLEX: (
            "The graph converts only with Select TensorFlow ops, and no Python runtime runs those, so nothing can be proven "
            "here. Replace the operators that the message names, or serve the SavedModel and leave the variant out of "
            "`policy.require:`. `conversion: {allow_select_tf_ops: true}` converts it all the same, unproven."
        ),
        ReasonCode.SAMPLES_MISSING: (
            "Without sample rows nothing can be compared. Give the model's entry a `samples:` name that is defined in the job "
            "file, and check that its `path:` can be read from where the workers run."
        ),
        ReasonCode.SAMPLES_MISMATCH: (
            "The sample data does not fit the model's inputs. Map every input to a column under `samples.<name>.inputs`, and "
            "compare shapes and dtypes with the model's own; `liteferry inspect` lists its inputs."
        ),
        ReasonCode.SAMPLES_EMPTY: (
            "No rows were compared, and nothing compared is not a pass. Check the glob under `samples.<name>.path` and that "
            "its files hold rows."
        ),
        ReasonCode.PARITY_OUT_OF_TOLERANCE: (
            "The Gates table shows what was measured, and the worst rows are named. For a quantised variant, use sample rows "
            "that cover the real range of the inputs, or ship a wider variant and leave this one out of `policy.require:`. "
            "Widen the limit under `gates:` only if that difference is harmless in your product."
        ),
        ReasonCode.PARITY_NONFINITE: (
            "NaN or infinity stands on one side only. In float16, constants beyond 65,504 overflow, mask values such as -1e9 "
            "for example: use a smaller one in the model, or ship float32."
        ),
        ReasonCode.NOT_QUANTIZED: (
            "The file's answers are right, but its format is not what its name claims: most of it stayed in float32. The message "
            "names the "
            "operators that kept it. Drop the variant under `variants:`, take `float16` if size matters, or make the mixture on "
            "purpose by a recipe of your own under `recipes:`, whose name claims nothing."
        ),
        ReasonCode.METRIC_DROP: (
            "A task metric missed its limit, or has no value; the Gates table shows each limit with what was observed. Ship a "
            "wider variant, calibrate with sample rows closer to real use, or train with quantisation in mind. For a metric "
            "without a value look at its labels, its `output_name` and the problems under Task metrics."
        ),
        ReasonCode.CRASHED: (
            "Native code crashed the process; other models are not affected. Run this checkpoint alone with `liteferry run "
            "--checkpoints`: if it dies again, drop the variant that was being made and report the crash upstream."
        ),
        ReasonCode.KILLED: (
            "A signal from outside ended the process, in the second attempt as well; most likely the kernel's out-of-memory "
            "killer sent it. Use fewer `--processes` or a larger machine, then run again: this model is tried again."
        ),
        ReasonCode.TIMEOUT: (
            "The work was stopped at its time limit. Raise `limits.seconds_per_model`, give fewer sample rows, or drop the "
            "variants that you do not need."
        ),
        ReasonCode.OUT_OF_DISK: (
            "Working on this model took more disk space than the limit. If it is that large, or has that many rows to answer, "
            "raise `limits.disk_gb_per_model`. If not, something in the checkpoint or in your own code writes without end."
        ),
        ReasonCode.OUT_OF_MEMORY: (
            "The work was stopped at its memory limit. Raise `limits.memory_gb_per_model`, or run on larger workers with "
            "fewer models at a time."
        ),
        ReasonCode.STORAGE_FAILED: (
            "A file could not be read or written. Check permissions, credentials and free space, then run again: finished "
            "models are not redone."
        ),
        ReasonCode.INTERNAL: (
            "This is a fault of LiteFerry, not of your model. Please report it with the message above and the Environment "
            "section."
        ),
    }
)

NO_HINT = "This code is not known to this version of LiteFerry; the message is all there is."


def hint_for(code: object) -> str:
    """The hint of a reason code, given as the enum or as its text; a plain sentence for an unknown code."""
    try:
        return HINTS[ReasonCode(str(code.value if isinstance(code, ReasonCode) else code))]
    except ValueError:
        return NO_HINT
