"""Beam's options: files that are checked before anything runs, flags that win over them, and flags that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteferry import config
from liteferry.cli import _refuse_typos, build_parser
from liteferry.errors import JobError
from liteferry.pipeline import runner_traits
from liteferry.pipeline.beam_options import _beam_parser, _known, beam_flags, flags_of
from liteferry.pipeline.runner_traits import traits_of, with_local_engine
from tests.support import liteferry
from tests.support.packages import ROOT

CONFIGS = sorted((ROOT / "runner_configs").glob("*.yaml"))


def written(folder: Path, text: str) -> str:
    path = folder / "options.yaml"
    path.write_text(text)
    return str(path)


def options(flags: Sequence[str]) -> dict[str, Any]:
    from apache_beam.options.pipeline_options import PipelineOptions

    found: dict[str, Any] = PipelineOptions(list(flags)).get_all_options(drop_default=True)
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_configuration_is_one_that_beam_takes(path: Path) -> None:
    assert "runner" in options(flags_of(str(path)))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_options_of_a_shipped_configuration_have_their_comment(path: Path) -> None:
    """Above each, or above the few that it stands among without an empty line."""
    blocks = path.read_text().split("\n\n")
    unexplained = [block for block in blocks if not block.startswith("#")]
    assert unexplained in ([], ["runner: " + yaml.safe_load(path.read_text())["runner"]])


def test_direct_is_what_runs_without_a_configuration() -> None:
    direct = str(ROOT / "runner_configs" / "direct.yaml")
    assert options(flags_of(direct)) == options(with_local_engine([]))


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("streaming: true", ["--streaming"]),
        ("streaming: false", []),
        ("region:", []),
        ("use_public_ips: false", ["--no_use_public_ips"]),
        ("num_workers: 3", ["--num_workers=3"]),
        ("experiments: [one, two=2]", ["--experiments=one", "--experiments=two=2"]),
        ("labels: {team: vision, cost: '7'}", ["--labels=team=vision", "--labels=cost=7"]),
        ("worker_machine_type: n2-highmem-4", ["--worker_machine_type=n2-highmem-4"]),  # a second name of machine_type
    ],
)
def test_an_option_becomes_the_flag_that_beam_reads(tmp_path: Path, text: str, flags: list[str]) -> None:
    assert flags_of(written(tmp_path, text)) == flags


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("machine_typ: n2-highmem-4", ["machine_typ:", "did you mean machine_type?"]),
        ("wibble: 1", ["wibble:", "documentation"]),
        ("num_workers: many", ["num_workers:", "'many'"]),
        ("num_workers: true", ["num_workers:", "expected one argument"]),
        ("autoscaling_algorithm: MORE", ["autoscaling_algorithm:", "THROUGHPUT_BASED"]),
        ("num_workers: many\nregoin: x", ["2 problems", "num_workers:", "regoin:", "did you mean region?"]),
        ("- runner", ["list", "option: value"]),
        ("{", ["cannot be read"]),
    ],
)
def test_a_mistake_in_a_configuration_is_told_before_anything_runs(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(JobError) as raised:
        flags_of(written(tmp_path, text))
    for word in words:
        assert word in str(raised.value)


def test_flags_win_over_the_configuration_and_add_to_its_lists(tmp_path: Path) -> None:
    path = written(tmp_path, "machine_type: n2-highmem-4\nlabels: {team: vision, env: test}")
    found = options(beam_flags(path, ["--machine_type=n2-standard-2", "--labels=env=prod"]))
    assert found == {"machine_type": "n2-standard-2", "labels": ["team=vision", "env=test", "env=prod"]}


def test_a_value_that_beam_does_not_take_is_one_message() -> None:
    with pytest.raises(JobError, match="num_workers: invalid int value: 'many'"):
        beam_flags(None, ["--num_workers=many"])


def test_a_flag_that_is_not_exactly_one_of_beams_is_refused_with_the_nearest() -> None:
    given = ["--labels=airflow-version=v3-3-2", '--labels={"team": "vision"}']
    assert beam_flags(None, given) == given
    with pytest.raises(JobError) as caught:
        beam_flags(None, [*given, "--machin_type=n2", "--of_some_runner"])
    first, second = caught.value.problems
    assert "--machin_type" in first and "did you mean --machine_type?" in first
    assert "--of_some_runner" in second


def test_no_flag_of_beam_looks_like_a_typo_of_ours() -> None:
    """`run` refuses what is almost a flag of its own: that must never hit a flag which a scheduler passes to Beam."""
    parser = build_parser()
    flags = _known(_beam_parser()) - {"-h", "--help"}
    assert len(flags) > 150
    _refuse_typos(parser, "run", sorted(flags))


LOCAL = {"name": "FnApiRunner", "is_local": True, "is_here": True, "is_dataflow": False, "waits": True}
DATAFLOW = {"name": "DataflowRunner", "is_local": False, "is_here": False, "is_dataflow": True, "waits": True}


@pytest.mark.parametrize(
    ("flags", "traits"),
    [
        ([], LOCAL),
        (["--runner=DirectRunner"], LOCAL),
        (["--direct_running_mode=multi_processing"], {**LOCAL, "is_here": False}),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=3"], {"is_here": False, "workers": 3}),
        (["--direct_num_workers=3"], {"workers": 1}),
        (["--runner=DataflowRunner", "--num_workers=2", "--max_num_workers=20"], {"is_dataflow": True, "workers": 20}),
        (["--runner=PortableRunner"], {**LOCAL, "name": "PortableRunner", "is_local": False, "is_here": False}),
        (["--runner=DataflowRunner"], DATAFLOW),
        (["--runner=DataflowRunner", "--no_wait_until_finish"], {**DATAFLOW, "waits": False}),
        (["--runner=DataflowRunner", "--template_location=gs://b/t"], {**DATAFLOW, "waits": False}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_launcher_knows_of_a_runner(flags: list[str], traits: dict[str, Any]) -> None:
    found = traits_of(flags)
    assert {name: getattr(found, name) for name in traits} == traits


@pytest.mark.parametrize(("processes", "gigabytes"), [(None, 8), (1, 8), (4, 26)])
def test_a_worker_needs_memory_for_each_of_its_sandboxes(processes: int | None, gigabytes: int) -> None:
    job = config.Job(models=(config.ModelSpec(checkpoints="*.keras"),), limits=config.Limits(memory_gb_per_model=6.0))
    assert runner_traits.needed_bytes(job, processes=processes) == gigabytes * 10**9


def test_paths_that_dataflow_would_not_find_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "models: [{checkpoints: 'a/*.keras', samples: d}, {checkpoints: 'gs://b/*.keras', samples: d}]\n"
        "samples: {d: {path: d.npz}}\nmodules: [mine.py, installed.module]\n"
    )
    done = liteferry("run", "--config", tmp_path / "job.yaml", "--output", "out", "--runner=DataflowRunner", "--project=p-1")
    assert done.returncode == 2, done.stderr
    told = [line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]]
    assert told == ["--output", "models[0].checkpoints", "samples.d.path", "modules"], done.stderr
    assert "Traceback" not in done.stderr


def test_workers_without_the_package_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="sdk_container_image"):
        runner_traits.refuse_bare_workers(["--runner=DataflowRunner", "--sdk_location=container"])
    for flag in ("--sdk_container_image=europe-docker.pkg.dev/p/r/i:1", "--setup_file=./setup.py", "--extra_package=a.whl"):
        runner_traits.refuse_bare_workers([flag])
