"""A job as a Kubeflow pipeline, in two forms: `LITEFERRY_IMAGE=... python pipelines/kubeflow.py` compiles both here.

    kubeflow.yaml               container steps: the image needs LiteFerry alone
    kubeflow_lightweight.yaml   the same step as a Python component: Kubeflow installs itself into the image when it starts

Either gives `blessed` and `held`, how many models are and how many are not; a Metrics artifact; a summary to read. When all are
blessed the run is verified from its files alone, else it ends red with the table of what was held. Kubeflow's cache is off: it
knows the job file by its name, LiteFerry knows it by its content and redoes nothing that is done.
"""

import argparse
import inspect
import os
from typing import Any, NamedTuple

from kfp import compiler, dsl

IMAGE = os.environ.get("LITEFERRY_IMAGE", "liteferry:latest")


# The next four travel as text into the steps, so they stand on their own.


def run_fleet(config, output, beam_flags):
    """Runs the job and returns what fleet.json says. Raises where that is not this run's: a bad job, a crash."""
    import json
    import subprocess
    import sys

    liteferry = [sys.executable, "-m", "liteferry"]
    flags = [f"--config={config}", f"--output={output}", "--quiet", *beam_flags]
    ran = subprocess.run([*liteferry, "run", *flags], stdout=subprocess.PIPE, text=True, check=False)
    print(ran.stdout)
    shown = subprocess.run([*liteferry, "show", output, "--json"], stdout=subprocess.PIPE, check=False)
    fleet = json.loads(shown.stdout) if shown.returncode in (0, 1) and shown.stdout else {"models": []}
    is_blessed = bool(fleet["models"]) and all(model["status"] == "blessed" for model in fleet["models"])
    is_over = "goes on by itself" not in ran.stdout  # as it does with --no_wait_until_finish: fleet.json is an earlier run's
    if not is_over or ran.returncode not in (0, 1) or is_blessed != (ran.returncode == 0):
        raise RuntimeError(f"liteferry run: exit status {ran.returncode}, and {output} has no fleet of this run: see above")
    return fleet


def counts_of(fleet):
    """Name -> number, for the Metrics artifact."""
    totals = fleet["totals"]
    by_variant = {f"blessed_{name}": found["blessed"] for name, found in totals["by_variant"].items()}
    return {name: totals[name] for name in ("models", "blessed", "not_blessed", "failed")} | by_variant


def summary_of(fleet, output):
    """Markdown: the verdict, what is held and why, where the reports are."""
    totals = fleet["totals"]
    held = [model for model in fleet["models"] if model["status"] != "blessed"]
    lines = [f"{totals['blessed']} of {totals['models']} models are blessed. Reports: {output}/index.html", ""]
    lines += [f"- `{model['model_id']}`: {(model['reason'] or {}).get('code', model['status'])}" for model in held]
    return "\n".join(lines) + "\n"


def write_outputs(executor_input, metrics_path, summary_path):
    """The container step: from and to the files that Kubeflow names in its executor input."""
    import json
    import os

    def write(path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    task = json.loads(executor_input)
    given = task["inputs"]["parameterValues"]
    fleet = run_fleet(given["config"], given["output"], given.get("beam_flags") or [])
    counts = counts_of(fleet)
    values = {"blessed": counts["blessed"], "held": counts["models"] - counts["blessed"]}
    for name, value in values.items():
        write(task["outputs"]["parameters"][name]["outputFile"], str(value))
    write(metrics_path, json.dumps(counts))
    write(summary_path, summary_of(fleet, given["output"]))
    (metrics,) = task["outputs"]["artifacts"]["metrics"]["artifacts"]
    said = {"parameterValues": values, "artifacts": {"metrics": {"artifacts": [{**metrics, "metadata": counts}]}}}
    write(task["outputs"]["outputFile"], json.dumps(said))


_FUNCTIONS: tuple[Any, ...] = (run_fleet, counts_of, summary_of, write_outputs)
_STEP = "\n\n".join([inspect.getsource(function) for function in _FUNCTIONS] + ["import sys\n\nwrite_outputs(*sys.argv[1:])\n"])


@dsl.container_component
def export_fleet_container(
    config: str,
    output: str,
    blessed: dsl.OutputPath(int),  # type: ignore[valid-type]
    held: dsl.OutputPath(int),  # type: ignore[valid-type]
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    beam_flags: list = [],  # noqa: B006  # Kubeflow reads the default; nothing changes it
):
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-c", _STEP], args=["{{$}}", metrics.path, summary.path])


@dsl.component(base_image=IMAGE, additional_funcs=[run_fleet, counts_of, summary_of])
def export_fleet(
    config: str,
    output: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    beam_flags: list = [],  # noqa: B006
) -> NamedTuple("Fleet", [("blessed", int), ("held", int)]):  # type: ignore[valid-type]
    fleet = run_fleet(config, output, beam_flags)
    counts = counts_of(fleet)
    for name, count in counts.items():
        metrics.log_metric(name, count)
    with open(summary.path, "w", encoding="utf-8") as file:
        file.write(summary_of(fleet, output))
    return counts["blessed"], counts["models"] - counts["blessed"]


@dsl.container_component
def verify(output: str):
    """Put what ships the models after this."""
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-m", "liteferry"], args=["verify", output])


@dsl.container_component
def hold(output: str):
    """Prints the table and ends with exit status 1."""
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-m", "liteferry"], args=["show", output])


def _pipeline(export, name):
    @dsl.pipeline(name=name, description="Checkpoints to SavedModel and TFLite, with proof; see docs/orchestration.md")
    def fleet(config: str, output: str, beam_flags: list = []):  # noqa: B006
        step = export(config=config, output=output, beam_flags=beam_flags).set_caching_options(enable_caching=False)
        with dsl.If(step.outputs["held"] == 0, name="all-blessed"):
            verify(output=output).set_caching_options(enable_caching=False)
        with dsl.Else(name="some-held"):
            hold(output=output).set_caching_options(enable_caching=False)

    return fleet


PIPELINES = {
    "kubeflow.yaml": _pipeline(export_fleet_container, "liteferry-fleet"),
    "kubeflow_lightweight.yaml": _pipeline(export_fleet, "liteferry-fleet-lightweight"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=os.path.dirname(os.path.abspath(__file__)), metavar="DIR", help="where the YAML goes")
    folder = parser.parse_args().folder
    for name, pipeline in PIPELINES.items():
        compiler.Compiler().compile(pipeline, os.path.join(folder, name))
