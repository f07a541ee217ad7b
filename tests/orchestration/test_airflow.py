"""The DAG as Airflow runs it (`dag.test()`, in its own environment), starting LiteFerry in this one: `make test-airflow`."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import Run

AIRFLOW = os.environ["LITEFERRY_AIRFLOW"]
PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
DAG = PIPELINES / "airflow_dag.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DagRun:
    """What a run left: exit status of `python airflow_dag.py`, states, everything that was logged, and the newest XComs."""

    status: int
    states: dict[str, str]
    log: str
    xcoms: dict[tuple[str, str], Any]


class Airflow:
    """An AIRFLOW_HOME of its own."""

    def __init__(self, home: Path) -> None:
        self.database = home / "airflow.db"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(PIPELINES),
            "LITEFERRY_PYTHON": sys.executable,
        }
        self.python("-m", "airflow", "db", "migrate", check=True)

    def python(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        command = [AIRFLOW, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check, timeout=600)

    def run(self, **conf: str | Path) -> DagRun:
        said = self.python(str(DAG), *(f"{name}={value}" for name, value in conf.items()))
        found = re.findall(r"^(run|choose|export_here|export_on_dataflow|verdict|ship|hold): (\w+)$", said.stdout, re.MULTILINE)
        return DagRun(status=said.returncode, states=dict(found), log=said.stdout + said.stderr, xcoms=self._xcoms())

    def _xcoms(self) -> dict[tuple[str, str], Any]:
        with sqlite3.connect(self.database) as database:
            rows = database.execute("select task_id, key, value from xcom order by timestamp").fetchall()
        return {(task, key): json.loads(value) for task, key, value in rows}

    def serialized_dag(self) -> str:
        with sqlite3.connect(self.database) as database:
            return str(database.execute("select data from serialized_dag").fetchall())


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def good(airflow: Airflow, fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DagRun, Path]:
    out = tmp_path_factory.mktemp("good")
    return airflow.run(config=fleet / "good.yaml", output=out), out


def fleet_of(out: Path) -> dict[str, str]:
    return {model["model_id"]: model["status"] for model in json.loads((out / "fleet.json").read_text())["models"]}


def test_every_model_blessed_ships(airflow: Airflow, good: tuple[DagRun, Path]) -> None:
    run, out = good
    assert run.states == {
        "run": "success", "choose": "success", "export_here": "success", "export_on_dataflow": "skipped",
        "verdict": "success", "ship": "success", "hold": "skipped",
    }, run.log[-3000:]  # fmt: skip
    assert run.status == 0
    assert fleet_of(out) == {"narrow": "blessed", "wide": "blessed"}
    shipped = run.xcoms["ship", "return_value"]
    assert shipped.keys() == {"narrow", "wide"}
    assert all(Path(path).is_file() and path.startswith(f"{out}/models/") for path in shipped.values()), shipped
    assert run.xcoms["verdict", "_link_FleetPage"] == f"file://{out}/index.html"
    assert (out / "index.html").is_file()
    assert "_link_FleetPage" in airflow.serialized_dag(), "the web server would not show the button"


def test_one_broken_model_holds(airflow: Airflow, fleet: Path, tmp_path: Path) -> None:
    """Exit status 1 fails the export, the branch goes the other way, and the neighbours of the broken model are unhurt."""
    run = airflow.run(config=fleet / "mixed.yaml", output=tmp_path, page="https://fleet.example.com/")
    assert run.states == {
        "run": "failed", "choose": "success", "export_here": "failed", "export_on_dataflow": "skipped",
        "verdict": "success", "ship": "skipped", "hold": "failed",
    }, run.log[-3000:]  # fmt: skip
    assert run.status == 1
    assert "Apache Beam process failed with return code 1" in run.log
    assert "1 of 3 models are not blessed; broken: LOAD_CORRUPT" in run.log
    assert run.xcoms["verdict", "_link_FleetPage"] == "https://fleet.example.com/"
    reports = Run(tmp_path, None)  # type: ignore[arg-type]  # the command's words are in Airflow's log
    assert fleet_of(tmp_path) == {"broken": "failed", "narrow": "blessed", "wide": "blessed"}
    assert reports.report("broken")["reason"]["code"] == "LOAD_CORRUPT"
    assert reports.report("narrow")["variants"]["float32"]["parity"]["y"]["example_count"] == 48


def test_yesterdays_blessing_does_not_ship_a_run_that_could_not_start(
    airflow: Airflow, good: tuple[DagRun, Path], fleet: Path
) -> None:
    """Exit status 2, and an OUT whose fleet.json says that all is well."""
    _, out = good
    assert set(fleet_of(out).values()) == {"blessed"}
    run = airflow.run(config=fleet / "no_such_job.yaml", output=out)
    assert run.states["export_here"] == "failed"
    assert "Apache Beam process failed with return code 2" in run.log
    assert (run.states["ship"], run.states["hold"], run.states["run"]) == ("skipped", "failed", "failed"), run.log[-3000:]
    assert "this one did not end well" in run.log


def test_dataflow_task_hands_the_job_to_the_template(airflow: Airflow) -> None:
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
import airflow_dag
export = airflow_dag.dag.get_task("export_on_dataflow")
params = {name: param.value for name, param in airflow_dag.PARAMS.items()} | {"config": "gs://b/job.yaml", "output": "gs://b/out"}
export.render_template_fields({"params": params, "ts_nodash": "20260102T030405"}, airflow_dag.dag.get_template_env())
print("BODY" + json.dumps([export.body, export.location, export.project_id, airflow_dag.page_of(params)]))
"""
    said = airflow.python("-c", program, str(PIPELINES))
    assert "BODY" in said.stdout, said.stderr[-2000:]
    body, location, project, page = json.loads(said.stdout.rpartition("BODY")[2])
    launch = body["launchParameter"]
    assert launch["parameters"] == {"config": "gs://b/job.yaml", "output": "gs://b/out"}
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", launch["jobName"]), launch["jobName"]
    assert (launch["containerSpecGcsPath"], location, project) == (
        "gs://my-bucket/templates/liteferry.json", "europe-west1", "my-project"
    )  # fmt: skip
    assert page == "https://storage.cloud.google.com/b/out/index.html"
