"""Registers the blessed models of a run in MLflow: `python register_in_mlflow.py out --tracking_uri http://mlflow:5000`.

An example to copy. It needs `mlflow` and the standard library alone, so it may run in an environment without LiteFerry. Every
model becomes a version of the registered model of its name, with its folder as artifacts (SavedModel, .tflite files, model card,
bill of materials, statement), its task metrics as metrics and its digests as tags, and gets the alias `blessed`. A version that
is there already is left alone, so it may run after every night.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import Any

ALIAS = "blessed"
SAME = ("export_digest", "recipe_digest")  # two versions with these in common hold the same


def models_of(fleet: dict[str, Any], out: pathlib.Path) -> list[str]:
    """The models of the last run; those of more than 5,000 stand in the parts that fleet.json names."""
    if "models" in fleet:
        return [model["model_id"] for model in fleet["models"]]
    import pyarrow.parquet

    parts = (pyarrow.parquet.read_table(out / part["path"], columns=["model_id"]) for part in fleet["parts"])
    return sorted({model_id for part in parts for model_id in part.column("model_id").to_pylist()})


def blessed(out: pathlib.Path) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
    """The folder and the report of every blessed model of the last run, also of those that are held back: the kept ones."""
    for model_id in models_of(json.loads((out / "fleet.json").read_text(encoding="utf-8")), out):
        folder = out / "models" / model_id
        if (folder / "BLESSED").exists():
            yield folder, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def tags_of(report: dict[str, Any]) -> dict[str, str]:
    """What a reader of the registry asks for first."""
    told = {
        "checkpoint_digest": report["checkpoint"]["digest"],
        "recommended_variant": report["recommended_variant"],
        "liteferry": report["environment"].get("liteferry"),
        **{key: report.get(key) for key in SAME},
    }
    return {key: str(value) for key, value in told.items() if value is not None}


def metrics_of(report: dict[str, Any]) -> dict[str, float]:
    """Task metrics over all rows, of the checkpoint and of what is recommended."""
    parts = {"checkpoint": (report.get("metrics") or {}).get("reference") or {}}
    chosen = report["recommended_variant"]
    if chosen:
        parts[chosen] = report["variants"][chosen]["metrics"]
    return {
        f"{part}.{name}": facts["value"]
        for part, found in parts.items()
        for name, facts in found.items()
        if facts["value"] is not None
    }


def register(client: Any, experiment_id: str, folder: pathlib.Path, report: dict[str, Any]) -> str:
    """Returns the number of the version, a new one unless the registry has it already."""
    from mlflow.exceptions import MlflowException

    name, tags = report["model_id"], tags_of(report)
    for version in client.search_model_versions(f"name = '{name}'"):
        if all(version.tags.get(key) == tags.get(key) for key in SAME):
            return str(version.version)
    run = client.create_run(experiment_id, run_name=name, tags=tags)
    client.log_artifacts(run.info.run_id, str(folder), "model")
    for metric, value in metrics_of(report).items():
        client.log_metric(run.info.run_id, metric, value)
    client.set_terminated(run.info.run_id)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(name, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=tags)
    client.set_registered_model_alias(name, ALIAS, made.version)
    return str(made.version)


def main() -> None:
    parser = argparse.ArgumentParser(description="Register the blessed models of a run in MLflow.")
    parser.add_argument("output", metavar="OUT", type=pathlib.Path)
    parser.add_argument("--tracking_uri", required=True, metavar="URI", help="of the MLflow server")
    parser.add_argument("--experiment", default="liteferry", metavar="NAME", help="default: %(default)s")
    arguments = parser.parse_args()

    import mlflow

    client = mlflow.MlflowClient(tracking_uri=arguments.tracking_uri, registry_uri=arguments.tracking_uri)
    found = client.get_experiment_by_name(arguments.experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(arguments.experiment)
    for folder, report in blessed(arguments.output):
        print(f"{report['model_id']} version {register(client, experiment_id, folder, report)}")


if __name__ == "__main__":
    main()
