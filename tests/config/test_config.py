"""The job file: what it accepts, what it makes of it, and the sentences it answers mistakes with."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

from liteferry import config
from liteferry.config import parsing
from liteferry.config.job import Job, SamplesSpec, Trust, Variant
from liteferry.config.value_types import FrozenDict
from liteferry.errors import JobError
from tests.support.emulators import Bucket

DOCS = Path(__file__).parents[2] / "docs" / "job_file.md"
METRICS = types.SimpleNamespace(METRICS={"max_abs": "max", "argmax_agreement": "min"})

ALL_VARIANTS = ", ".join(variant.value for variant in Variant)


@pytest.fixture(autouse=True)
def known_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two metrics, so that these tests hold whatever `liteferry.parity.gates` comes to offer."""
    monkeypatch.setitem(sys.modules, "liteferry.parity.gates", METRICS)


def job_mapping(**changes: Any) -> dict[str, Any]:
    job: dict[str, Any] = {"models": [{"checkpoints": "a.keras"}], "samples": {"rows": {"path": "rows.npz"}}}
    return {**job, **changes}


def parse(**changes: Any) -> Job:
    return config.parse_job(job_mapping(**changes), base_dir="/jobs")


def problems_of(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(JobError) as caught:
        parse(**changes)
    return caught.value.problems


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def load_problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(JobError) as caught:
        config.load_job(path)
    assert caught.value.source == str(path)
    return caught.value.problems


FULL_JOB = """
    models:
      - checkpoints: "checkpoints/*.keras"
        samples: digits
        metadata: {team: vision, learning_rate: 1e-3, tags: [a, {b: null}]}
      - checkpoints: gs://bucket/*.weights.h5
        samples: other
        builder: "my_models:build"
        builder_args: {units: 64}
    modules: [my_models.py, sub/layers.py, my.package]
    custom_objects: {"<lambda>": "my_models:act"}
    trust: [lambda]
    samples:
      digits:
        path: "data/../digits.parquet"
        inputs: {image: pixels}
        label: label
        id: id
      other: {path: /abs/x.npz}
    variants: [float32, float16]
    gates:
      float32: {max_abs: 1.0e-5}
      saved_model: {max_abs: null}
    policy: {require: [float32]}
    limits: {seconds_per_model: 60, memory_gb_per_model: 1.5}
    evaluation: {batch_size: 8}
"""


class TestJobFile:
    def test_every_key_arrives(self, tmp_path: Path) -> None:
        job = config.load_job(write(tmp_path / "job.yaml", FULL_JOB))
        digits, builder = job.models
        assert digits.metadata == {"team": "vision", "learning_rate": 0.001, "tags": ("a", {"b": None})}
        assert (builder.builder, builder.builder_args) == ("my_models:build", {"units": 64})
        assert job.custom_objects == {"<lambda>": "my_models:act"}
        assert job.trust == (Trust.LAMBDA,)
        assert job.samples["digits"].inputs == {"image": "pixels"}
        assert (job.samples["digits"].label, job.samples["digits"].id) == ("label", "id")
        assert job.variants == (Variant.FLOAT32, Variant.FLOAT16)
        assert job.gates == {"float32": {"max_abs": 1e-5}, "saved_model": {"max_abs": None}}
        assert job.policy.require == (Variant.FLOAT32,)
        assert (job.limits.seconds_per_model, job.limits.memory_gb_per_model) == (60.0, 1.5)
        assert job.evaluation.batch_size == 8

    def test_defaults(self) -> None:
        job = parse()
        assert job.variants == (Variant.FLOAT32, Variant.FLOAT16, Variant.DYNAMIC_INT8)
        assert job.policy.require is None
        assert (job.limits.seconds_per_model, job.limits.memory_gb_per_model) == (900.0, 8.0)
        assert job.evaluation.batch_size == 64
        assert (job.modules, job.trust, dict(job.gates), dict(job.custom_objects)) == ((), (), {}, {})
        assert dict(job.models[0].metadata) == {}

    def test_json_and_yaml_say_the_same(self, tmp_path: Path) -> None:
        from_yaml = config.load_job(write(tmp_path / "job.yaml", FULL_JOB))
        # tabs are fine in JSON, though not in YAML
        text = json.dumps(parsing.read_job_file(str(tmp_path / "job.yaml"))[0], indent="\t")
        assert config.load_job(write(tmp_path / "job.json", text)) == from_yaml

    @pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
    def test_utf8_text(self, tmp_path: Path, prefix: bytes) -> None:
        path = write(tmp_path / "job.yaml", prefix + "models: [{checkpoints: größe.h5}]\nsamples: {r: {path: x.npz}}".encode())
        assert config.load_job(path).models[0].checkpoints == str(tmp_path / "größe.h5")

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-5", 1e-5),
            ("1.0e-5", 1e-5),
            ("-.5", -0.5),
            ("010", 10),
            ("0x10", 16),
            ("0o17", 15),
            ("2024-01-01", "2024-01-01"),
            ("off", "off"),
            ("yes", "yes"),
            ("1:30", "1:30"),
            ("1_000", "1_000"),
            ("true", True),
            ("~", None),
            ("", None),
            ("'1'", "1"),
        ],
    )
    def test_scalars_are_those_of_yaml_1_2(self, tmp_path: Path, text: str, value: object) -> None:
        path = write(
            tmp_path / "job.yaml", f"models: [{{checkpoints: a, metadata: {{x: {text}}}}}]\nsamples: {{r: {{path: x.npz}}}}"
        )
        metadata = config.load_job(path).models[0].metadata
        assert metadata == {"x": value}
        assert type(metadata["x"]) is type(value)

    def test_anchors_and_merge_keys(self, tmp_path: Path) -> None:
        text = """
            samples: {rows: {path: x.npz}}
            models:
              - &base {checkpoints: a, metadata: {team: vision}}
              - {<<: *base, checkpoints: b}
        """
        job = config.load_job(write(tmp_path / "job.yaml", text))
        assert [dict(model.metadata) for model in job.models] == [{"team": "vision"}] * 2
        assert job.models[1].checkpoints.endswith("b")


class TestPaths:
    @pytest.mark.parametrize(
        ("given", "resolved"),
        [
            ("a/*.keras", "/jobs/a/*.keras"),
            ("../a.keras", "/a.keras"),
            ("./a/", "/jobs/a"),
            ("/abs/a.keras", "/abs/a.keras"),
            ("gs://bucket/*.keras", "gs://bucket/*.keras"),
            ("s3://b/../x", "s3://b/../x"),
            ("file:///a", "file:///a"),
            ("~/a.keras", os.path.expanduser("~/a.keras")),
        ],
    )
    def test_checkpoints_and_samples_are_relative_to_the_job_file(self, given: str, resolved: str) -> None:
        job = parse(models=[{"checkpoints": given}], samples={"rows": {"path": given}})
        assert job.models[0].checkpoints == resolved
        assert job.samples["rows"].path == resolved

    @pytest.mark.parametrize(
        ("given", "resolved"),
        [("m.py", "/jobs/m.py"), ("d/m.py", "/jobs/d/m.py"), ("d/pkg", "/jobs/d/pkg"), ("m", "m"), ("pkg.mod", "pkg.mod")],
    )
    def test_module_files_are_paths_and_module_names_are_not(self, given: str, resolved: str) -> None:
        assert parse(modules=[given]).modules == (resolved,)

    def test_module_files_are_no_patterns(self) -> None:
        assert config.parse_job(job_mapping(modules=["m.py"]), base_dir="/run[1]").modules == ("/run[1]/m.py",)

    def test_a_job_beside_its_data_in_a_bucket(self) -> None:
        job = config.parse_job(job_mapping(), base_dir="gs://bucket/jobs")
        assert job.models[0].checkpoints == "gs://bucket/jobs/a.keras"

    def test_brackets_in_the_job_files_folder_are_no_pattern(self, tmp_path: Path) -> None:
        folder = tmp_path / "run[1]"
        folder.mkdir()
        (folder / "a.keras").touch()
        job = config.parse_job(job_mapping(models=[{"checkpoints": "*.keras"}]), base_dir=str(folder))
        assert glob.glob(job.models[0].checkpoints) == [str(folder / "a.keras")]
        assert glob.glob(config.parse_job(job_mapping(), base_dir=str(folder)).models[0].checkpoints) == [str(folder / "a.keras")]

    def test_a_job_file_on_a_store_is_read_there_and_names_are_relative_to_it(self, gs: Bucket) -> None:
        text = "models: [{checkpoints: '../a*.keras', samples: d}]\nsamples: {d: {path: d.npz}}\nmodules: [m.py]\n"
        gs.put("jobs/job.yaml", text.encode())
        job = config.load_job(f"{gs.uri}/jobs/job.yaml")
        assert job.models[0].checkpoints == f"{gs.uri}/a*.keras"
        assert (job.samples["d"].path, job.modules) == (f"{gs.uri}/jobs/d.npz", (f"{gs.uri}/jobs/m.py",))
        with pytest.raises(JobError, match=r"nowhere.yaml"):
            config.load_job(f"{gs.uri}/jobs/nowhere.yaml")

    def test_without_a_base_dir_paths_stay(self) -> None:
        assert config.parse_job(job_mapping(), base_dir=None).models[0].checkpoints == "a.keras"


class TestSamplesNames:
    def test_the_only_entry_is_every_models_default(self) -> None:
        assert [model.samples for model in parse().models] == ["rows"]

    def test_a_job_without_any_is_for_the_reports_to_judge(self) -> None:
        assert parse(samples={}).models[0].samples is None

    def test_an_unused_entry_is_fine(self) -> None:
        job = parse(models=[{"checkpoints": "a", "samples": "x"}], samples={"x": {"path": "x.npz"}, "y": {"path": "y.npz"}})
        assert job.models[0].samples == "x"


class TestRecords:
    def test_frozen_all_the_way_down(self) -> None:
        job = parse(models=[{"checkpoints": "a", "metadata": {"deep": {"x": [1]}}}])
        with pytest.raises(ValueError, match="frozen"):
            job.variants = ()
        for mapping in (job.samples, job.gates, job.models[0].metadata, job.models[0].metadata["deep"]):
            with pytest.raises(TypeError, match="frozen"):
                mapping["new"] = 1  # type: ignore[index]
        assert job.models[0].metadata["deep"]["x"] == (1,)

    def test_json_round_trip(self, tmp_path: Path) -> None:
        job = config.load_job(write(tmp_path / "job.yaml", FULL_JOB))
        assert Job.model_validate_json(job.model_dump_json()) == job

    def test_pickle_round_trip(self, tmp_path: Path) -> None:
        job = config.load_job(write(tmp_path / "job.yaml", FULL_JOB))
        again = pickle.loads(pickle.dumps(job))
        assert again == job
        assert type(again.models[0].metadata) is FrozenDict

    def test_a_job_made_in_python_is_checked_too(self) -> None:
        with pytest.raises(ValueError, match=r"policy.require\[0\]"):
            Job(
                samples={"r": config.SamplesSpec(path="x.npz")},
                models=(config.ModelSpec(checkpoints="a"),),
                variants=(Variant.FLOAT32,),
                policy=config.Policy(require=(Variant.FLOAT16,)),
            )


# changes to a good job -> the one problem they make
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    (
        "unknown key",
        {"polcy": {}},
        (
            "polcy: is an unknown key (did you mean policy?); the keys here are auto, conversion, custom_objects, eval_config, "
            "evaluation, gates, keep, limits, metrics, min_saving, models, modules, policy, quantization, reads, recipes, "
            "samples, targets, trust, variants"
        ),
    ),
    (
        "unknown key in a list item",
        {"models": [{"checkpoints": "a", "sample": "rows"}]},
        (
            "models[0].sample: is an unknown key (did you mean samples?); the keys here are builder, builder_args, checkpoints, "
            "exclude, metadata, metrics, outputs, samples, serve_examples, signature, signatures, strip, tflite_metadata, "
            "tflite_signatures, versions, weights"
        ),
    ),
    ("no models", {"models": []}, "models: is empty; give it a value"),
    ("null", {"modules": None}, "modules: has no value; give it a list or remove the key"),
    ("null item", {"modules": [None]}, "modules[0]: has no value; give it text or remove the item"),
    (
        "required key",
        {"samples": {"rows": {}}},
        (
            "samples.rows.path: is missing; add it. File, glob or URI of .parquet, .npz, Arrow IPC or TFRecord files. The "
            "files of a glob are shards and share one schema."
        ),
    ),
    (
        "text for a number",
        {"limits": {"seconds_per_model": "abc"}},
        "limits.seconds_per_model: 'abc' is not a number; write a plain number such as 900, without quotes or units",
    ),
    (
        "quoted number",
        {"limits": {"memory_gb_per_model": "8"}},
        "limits.memory_gb_per_model: '8' is not a number; write a plain number such as 8, without quotes or units",
    ),
    (
        "true for a number",
        {"evaluation": {"batch_size": True}},
        "evaluation.batch_size: true is not a whole number; write a whole number such as 64, without quotes or units",
    ),
    (
        "fraction for a whole number",
        {"evaluation": {"batch_size": 2.5}},
        "evaluation.batch_size: 2.5 is not a whole number; write a whole number such as 64, without quotes or units",
    ),
    (
        "zero limit",
        {"limits": {"seconds_per_model": 0}},
        "limits.seconds_per_model: 0 is not above 0; write a plain number such as 900, without quotes or units",
    ),
    (
        "infinite limit",
        {"limits": {"seconds_per_model": float("inf")}},
        "limits.seconds_per_model: .inf is not a finite number; write a plain number such as 900, without quotes or units",
    ),
    (
        "nan gate",
        {"gates": {"float32": {"max_abs": float("nan")}}},
        "gates.float32.max_abs: .nan is not a finite number; write a plain number such as 0.01, without quotes or units",
    ),
    (
        "number for text",
        {"models": [{"checkpoints": 5}]},
        "models[0].checkpoints: 5 is not text; write one value, in quotes if it looks like something else",
    ),
    (
        "list for text",
        {"models": [{"checkpoints": ["a", "b"]}]},
        "models[0].checkpoints: ['a', 'b'] is not text; write one value, in quotes if it looks like something else",
    ),
    ("empty text", {"models": [{"checkpoints": ""}]}, "models[0].checkpoints: is empty; give it a value or remove the key"),
    ("text for a list", {"trust": "lambda"}, "trust: 'lambda' is not a list; write [one, two] or a `- one` line for each"),
    ("text for a mapping", {"models": ["a.keras"]}, "models[0]: 'a.keras' is not a mapping; write `key: value` lines under it"),
    (
        "unknown variant",
        {"variants": ["float32", "ternary"]},
        f"variants[1]: 'ternary' is not one of {ALL_VARIANTS}",
    ),
    (
        "misspelt variant",
        {"variants": ["flaot32"]},
        f"variants[0]: 'flaot32' is not one of {ALL_VARIANTS} (did you mean float32?)",
    ),
    ("repeated variant", {"variants": ["float32", "float32"]}, "variants[1]: 'float32' is there twice; keep one"),
    ("unknown trust", {"trust": ["pickle"]}, "trust[0]: 'pickle' is not one of lambda, file_ops, network, links"),
    (
        "builder without a callable",
        {"models": [{"checkpoints": "a", "builder": "my_models"}]},
        "models[0].builder: 'my_models' does not look like module:callable; write for example my_models:build",
    ),
    (
        "builder that is a file",
        {"models": [{"checkpoints": "a", "builder": "my_models.py:build()"}]},
        "models[0].builder: 'my_models.py:build()' does not look like module:callable; write for example my_models:build",
    ),
    (
        "builder_args without a builder",
        {"models": [{"checkpoints": "a", "builder_args": {"units": 1}}]},
        "models[0].builder_args: there is no builder to take them; add builder: module:callable or remove them",
    ),
    (
        "custom object",
        {"custom_objects": {"act": "relu"}},
        "custom_objects.act: 'relu' does not look like module:callable; write for example my_models:build",
    ),
    (
        "module",
        {"modules": ["my-models"]},
        "modules[0]: 'my-models' is neither a module name nor a file; write package.module or path/to/file.py",
    ),
    (
        "metadata that JSON cannot hold",
        {"models": [{"checkpoints": "a", "metadata": {"a": {"b": [float("inf")]}}}]},
        (
            "models[0].metadata: {'a': {'b': [inf]}} holds inf under a under b, which JSON cannot hold; write text, a finite "
            "number, true, false or null"
        ),
    ),
    (
        "metadata with a number for a key",
        {"models": [{"checkpoints": "a", "metadata": {1: 2}}]},
        "models[0].metadata: {1: 2} has the key 1, which is not text; write it in quotes",
    ),
    (
        "samples name that nothing has",
        {"models": [{"checkpoints": "a", "samples": "row"}]},
        "models[0].samples: 'row' is not under samples (did you mean rows?), which has rows",
    ),
    (
        "no name where there are two",
        {"samples": {"x": {"path": "x.npz"}, "y": {"path": "y.npz"}}},
        "models[0].samples: is missing, and there are 2 to choose from; name one of x, y",
    ),
    (
        "policy about a variant that is not made",
        {"variants": ["float32"], "policy": {"require": ["float16"]}},
        "policy.require[0]: 'float16' is not made by this job; add it to variants or remove it here",
    ),
    (
        "gates of a variant that is not made",
        {"variants": ["float32"], "gates": {"float16": {"max_abs": 1}}},
        "gates.float16: this job does not make float16; add it to variants or remove its gates",
    ),
    (
        "gates of a variant that is not among the default ones",
        {"gates": {"int8": {"max_abs": 1}}},
        "gates.int8: this job does not make int8; add it to variants or remove its gates",
    ),
    (
        "gates of no variant",
        {"gates": {"ternary": {"max_abs": 1}}},
        f"gates.ternary: is not a variant; gates are for saved_model, {ALL_VARIANTS}",
    ),
    (
        "gate on an unknown metric",
        {"gates": {"saved_model": {"maxabs": 1}}},
        "gates.saved_model.maxabs: is not a metric (did you mean max_abs?); known metrics: max_abs, argmax_agreement",
    ),
    (
        "gates of an output of unknown metrics",
        {"gates": {"float32": {"outputs": {"logits": {"maxabs": 1}}}}},
        "gates.float32.outputs.logits.maxabs: is not a metric (did you mean max_abs?); known metrics: max_abs, argmax_agreement",
    ),
    (
        "gates of an output that are no numbers",
        {"gates": {"float32": {"outputs": {"logits": {"max_abs": "low"}}}}},
        "gates.float32.outputs.logits.max_abs: 'low' is not a number; write a plain number such as 0.01, without quotes or units",
    ),
    (
        "gates of an output that are no mapping",
        {"gates": {"float32": {"outputs": {"logits": 0.1}}}},
        "gates.float32.outputs.logits: 0.1 is not a mapping; write `key: value` lines under it",
    ),
    (
        "key that is a number",
        {"samples": {"rows": {"path": "x.npz", "inputs": {1: "a"}}}},
        "samples.rows.inputs[1]: the key 1 is not usable text; write it in quotes",
    ),
]


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "problem"), [mistake[1:] for mistake in MISTAKES], ids=[mistake[0] for mistake in MISTAKES]
    )
    def test_one_sentence_with_key_value_and_fix(self, changes: dict[str, Any], problem: str) -> None:
        assert problems_of(**changes) == (problem,)

    def test_all_problems_at_once_within_and_between_keys(self) -> None:
        problems = problems_of(
            models=[{"checkpoints": "a", "samples": "x"}, {"checkpoints": 3}],
            variants=["float32"],
            policy={"require": ["float16"]},
            gates={"float32": {"rmse": "high"}},
            steps=[],
        )
        assert [problem.partition(":")[0] for problem in problems] == [
            "models[1].checkpoints",
            "gates.float32.rmse",
            "steps",
            "models[0].samples",
            "policy.require[0]",
            "gates.float32.rmse",
        ]

    def test_an_empty_mapping_names_what_is_needed(self) -> None:
        with pytest.raises(JobError) as caught:
            config.parse_job({}, base_dir=None)
        assert [problem.partition(":")[0] for problem in caught.value.problems] == ["models"]

    def test_long_values_are_cut(self) -> None:
        (problem,) = problems_of(trust="x" * 500)
        assert "..." in problem
        assert len(problem) < 200

    @pytest.mark.parametrize("value", [None, 1, "x", [], [[]], {1: {2: 3}}, {"x": None}, [None, {"a": 1}], True, 0.5])
    @pytest.mark.parametrize("key", ["models", "samples", "variants", "gates", "policy", "limits", "modules", "trust"])
    def test_any_shape_of_any_key_is_answered_in_sentences(self, key: str, value: object) -> None:
        with contextlib.suppress(JobError):
            parse(**{key: value})
            return  # some of these are right
        problems = problems_of(**{key: value})
        assert [problem for problem in problems if not problem.startswith(key) or "\n" in problem] == []
        assert [problem for problem in problems if "pydantic" in problem or "Input should" in problem] == []


class TestUnreadableFiles:
    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("job.yaml", "", "the file: is empty; a job needs at least `models:`"),
            ("job.yaml", "# nothing\n", "the file: is empty; a job needs at least `models:`"),
            ("job.json", " ", "the file: is empty; a job needs at least `models:`"),
            ("job.yaml", "- a\n", "the file: is a list at top level; a job is a mapping that starts with keys such as `models:`"),
            ("job.json", "[]", "the file: is a list at top level; a job is a mapping that starts with keys such as `models:`"),
            (
                "job.yaml",
                "hi",
                "the file: is a single value ('hi') at top level; a job is a mapping that starts with keys such as `models:`",
            ),
            ("job.yaml", b"a: \xff", "the file: is not UTF-8 text (byte 0xff at offset 3); save it as UTF-8"),
            ("job.json", '{"a": 1,\n "b" 2}', "line 2, column 6: cannot be read as JSON: Expecting ':' delimiter"),
        ],
    )
    def test_one_problem(self, tmp_path: Path, name: str, text: str | bytes, problem: str) -> None:
        assert load_problems(write(tmp_path / name, text)) == (problem,)

    @pytest.mark.parametrize(
        ("text", "start"),
        [
            ("models:\n  - a\n b: 1\n", "line 3, column 2: cannot be read as YAML: "),
            ("models: [a\n", "line 2, column 1: cannot be read as YAML: "),
            ("a: !!python/object:os.system {}\n", "line 1, column 4: cannot be read as YAML: "),
            ("a: 1\n---\nb: 2\n", "line 2, column 1: cannot be read as YAML: "),
            ("? [a]\n: b\n", "line 1, column 3: cannot be read as YAML: "),
            ("a: &x [*x]\n", "line 1, column 4: cannot be read as YAML: an alias stands inside the value it refers to"),
            ("a: \x07\n", "the file: cannot be read as YAML: "),
            (f"a: {'9' * 5000}\n", "the file: cannot be read as YAML: "),
            ("[" * 5000, "the file: nests too deeply"),
        ],
    )
    def test_yaml_errors_have_a_place(self, tmp_path: Path, text: str, start: str) -> None:
        (problem,) = load_problems(write(tmp_path / "job.yaml", text))
        assert problem.startswith(start)
        assert "\n" not in problem

    def test_deeply_nested_json(self, tmp_path: Path) -> None:
        (problem,) = load_problems(write(tmp_path / "job.json", "[" * 100_000))
        assert problem.startswith("the file: nests too deeply")

    def test_missing_file(self, tmp_path: Path) -> None:
        assert load_problems(tmp_path / "none.yaml") == ("the file: does not exist; check the path",)

    def test_folder(self, tmp_path: Path) -> None:
        assert load_problems(tmp_path) == ("the file: is a folder; name the job file inside it",)

    @pytest.mark.parametrize("name", ["job.yaml", "job.json"])
    def test_repeated_keys_are_found_at_any_depth_beside_other_problems(self, tmp_path: Path, name: str) -> None:
        text = """{"samples": {"r": {"path": "x.npz",
            "path": "y.npz"}},
            "models": [{"checkpoints": 1}],
            "samples": {"r": {"path": "x.npz"}}}"""
        problems = load_problems(write(tmp_path / name, text))
        lines = (", in lines 1 and 2", ", in lines 1 and 4") if name.endswith("yaml") else ("", "")
        assert sorted(problems) == sorted(
            [
                f"samples.r.path: is there twice{lines[0]}; keep one",
                f"samples: is there twice{lines[1]}; keep one",
                "models[0].checkpoints: 1 is not text; write one value, in quotes if it looks like something else",
            ]
        )

    def test_repeated_keys_alone_stop_a_job(self, tmp_path: Path) -> None:
        text = "models: [{checkpoints: a}]\nsamples: {r: {path: x.npz}}\ntrust: []\ntrust: [lambda]\n"
        assert load_problems(write(tmp_path / "job.yaml", text)) == ("trust: is there twice, in lines 3 and 4; keep one",)


class TestFlags:
    def test_the_same_job_as_a_file_would_make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        job = config.job_from_flags(
            checkpoints=["a/*.keras", "gs://b/c.h5"],
            samples="x.npz",
            variants=["float16"],
            modules=["m.py"],
            builder="m:build",
            builder_args={"units": 3},
            trust=["lambda"],
        )
        shared = {"builder": "m:build", "builder_args": {"units": 3}}
        assert job == config.parse_job(
            {
                "models": [{"checkpoints": "a/*.keras", **shared}, {"checkpoints": "gs://b/c.h5", **shared}],
                "samples": {"samples": {"path": "x.npz"}},
                "variants": ["float16"],
                "modules": ["m.py"],
                "trust": ["lambda"],
            },
            base_dir=str(tmp_path),
        )

    def test_problems_name_flags(self) -> None:
        with pytest.raises(JobError) as caught:
            config.job_from_flags(checkpoints=["a", "b"], samples=None, builder="x", variants=["int9"], modules=["my-m"])
        assert caught.value.source == "command line"
        assert [problem.partition(":")[0] for problem in caught.value.problems] == [
            "--builder",
            "--modules",
            "--variants",
        ]

    def test_no_checkpoints(self) -> None:
        with pytest.raises(JobError) as caught:
            config.job_from_flags(checkpoints=[], samples="x.npz")
        assert caught.value.problems == ("--checkpoints: is empty; give it a value",)


def records(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [("job", schema), *schema["$defs"].items()]
    return [(name, record) for name, record in found if "properties" in record]


class TestSchema:
    def test_every_key_has_a_description_and_unknown_ones_are_refused(self) -> None:
        schema = config.job_schema()
        for name, record in records(schema):
            names_are_listed = "enum" in record.get("propertyNames", {})  # gates: the metrics there are
            assert record["additionalProperties"] is False or names_are_listed, name
            described = {
                key: {**schema["$defs"].get(value.get("$ref", "")[8:], {}), **value}
                for key, value in record["properties"].items()
            }
            assert [key for key, value in described.items() if not value.get("description")] == [], name

    def test_gates_offer_variants_and_metrics(self) -> None:
        gates = config.job_schema()["properties"]["gates"]
        assert gates["propertyNames"]["anyOf"][0]["enum"] == ["saved_model", *(variant.value for variant in Variant)]
        of_variant = config.job_schema()["$defs"]["VariantGates"]
        assert gates["additionalProperties"]["$ref"].endswith("/VariantGates")
        assert of_variant["propertyNames"]["enum"] == ["outputs", "max_abs", "argmax_agreement"]
        of_output = of_variant["properties"]["outputs"]["additionalProperties"]
        assert of_output["propertyNames"]["enum"] == ["max_abs", "argmax_agreement"]

    @pytest.mark.filterwarnings("error")
    def test_it_is_json(self) -> None:
        assert json.loads(json.dumps(config.job_schema()))["title"] == "LiteFerry job file"


class TestDocs:
    def test_every_key_is_in_the_docs(self) -> None:
        page = DOCS.read_text()
        keys = {key for _, record in records(config.job_schema()) for key in record["properties"]}
        assert [key for key in sorted(keys) if f"`{key}`" not in page] == []

    def test_the_examples_load(self, tmp_path: Path) -> None:
        examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
        assert len(examples) >= 2
        for example in examples:
            config.load_job(write(tmp_path / "job.yaml", example))

    def test_the_messages_shown_are_the_messages_given(self, tmp_path: Path) -> None:
        bad, answer = re.findall(r"```(?:yaml bad|text)\n(.*?)```", DOCS.read_text(), re.DOTALL)
        with pytest.raises(JobError) as caught:
            config.load_job(write(tmp_path / "job.yaml", bad))
        assert str(caught.value).replace(f"{tmp_path}/", "") == answer.strip()


def test_importing_config_is_light() -> None:
    code = (
        "import sys, liteferry.config; print([m for m in ('tensorflow', 'apache_beam', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_stacked_columns_are_written_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    spec = SamplesSpec(path="rows.csv", inputs={"x": ("a", "b"), "y": "c"})
    assert spec.model_dump(mode="json")["inputs"] == {"x": ["a", "b"], "y": "c"}
    assert [str(found.message) for found in recwarn] == []
