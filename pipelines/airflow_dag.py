"""An Airflow DAG: every night, a job on this machine or on Dataflow; what is blessed goes on, what is not stops the run.

    choose -> export_here | export_on_dataflow -> verdict -> ship | hold

Copy it beside `export.py` into the DAGs' folder, or keep it here and name this folder. Airflow's environment needs the providers
`apache-beam` and `google` and no LiteFerry: that is in an environment of its own, whose Python LITEFERRY_PYTHON names.
Tried without a scheduler: `python pipelines/airflow_dag.py config=job.yaml output=out`.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

from airflow.exceptions import AirflowFailException
from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, BaseOperatorLink, Param, task

PYTHON = os.environ.get("LITEFERRY_PYTHON", "/opt/liteferry/bin/python")
EXPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "export.py")

PARAMS = {
    "config": Param("/srv/fleet/job.yaml", type="string", description="Job file; gs:// for Dataflow"),
    "output": Param("/srv/fleet/out", type="string", description="OUT: kept from run to run, finished models are not done again"),
    "runner_config": Param("", type="string", description="Beam options as YAML; empty: none"),
    "where": Param("here", enum=["here", "dataflow"], description="This machine, or the Flex Template"),
    "page": Param("", type="string", description="Address of the fleet's page, where OUT is served; empty: OUT/index.html"),
    "project": Param("my-project", type="string", description="Dataflow: project"),
    "region": Param("europe-west1", type="string", description="Dataflow: region"),
    "template": Param("gs://my-bucket/templates/liteferry.json", type="string", description="Dataflow: the Flex Template's file"),
}
EXPORTS = {"here": "export_here", "dataflow": "export_on_dataflow"}


def page_of(params):
    """Where a browser finds the fleet's page."""
    page = f"{params['output'].rstrip('/')}/index.html"
    if page.startswith("gs://"):
        page = "https://storage.cloud.google.com/" + page.removeprefix("gs://")
    return params["page"] or (page if "://" in page else f"file://{page}")


class FleetPage(BaseOperatorLink):
    """The button to the fleet's page on the task `verdict`."""

    name = "Fleet"

    def get_link(self, operator, *, ti_key):
        return operator.page


class Verdict(BranchPythonOperator):
    """A branch that knows the address of the fleet's page."""

    template_fields = (*BranchPythonOperator.template_fields, "page")
    operator_extra_links = (FleetPage(),)

    def __init__(self, *, page, **rest):
        super().__init__(**rest)
        self.page = page


def read_fleet(output):
    """fleet.json as LiteFerry reads it from any store; None where there is none."""
    said = subprocess.run([PYTHON, "-m", "liteferry", "show", output, "--json"], stdout=subprocess.PIPE, check=False)
    return json.loads(said.stdout) if said.returncode in (0, 1) and said.stdout else None


def judge(params, ti, run_id, dag):
    """`ship` if the export ended well *and* its fleet says that every model is blessed. A fleet.json alone may be yesterday's."""
    states = ti.get_task_states(dag_id=dag.dag_id, task_ids=[EXPORTS[params["where"]]], run_ids=[run_id])
    state = states.get(run_id, {}).get(EXPORTS[params["where"]])
    models = (read_fleet(params["output"]) or {}).get("models", [])
    is_blessed = bool(models) and all(model["status"] == "blessed" for model in models)
    return "ship" if state == "success" and is_blessed else "hold"


with DAG(
    "liteferry_fleet",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # a second run on one OUT would stop with a message
    params=PARAMS,
    user_defined_macros={"page_of": page_of},
    doc_md=__doc__,
    tags=["liteferry"],
) as dag:

    @task.branch
    def choose(params):
        return EXPORTS[params["where"]]

    # Exit status 1, not every model blessed, fails this task as any other does; a retry would only find the same.
    export_here = BeamRunPythonPipelineOperator(
        task_id="export_here",
        py_file=EXPORT,
        py_interpreter=PYTHON,
        runner="DirectRunner",
        pipeline_options={
            "config": "{{ params.config }}",
            "output": "{{ params.output }}",
            "runner_config": "{{ params.runner_config }}",
            "quiet": True,
        },
    )

    export_on_dataflow = DataflowStartFlexTemplateOperator(
        task_id="export_on_dataflow",
        project_id="{{ params.project }}",
        location="{{ params.region }}",
        wait_until_finished=True,
        body={
            "launchParameter": {
                "jobName": "liteferry-{{ ts_nodash | lower }}",
                "containerSpecGcsPath": "{{ params.template }}",
                "parameters": {"config": "{{ params.config }}", "output": "{{ params.output }}"},
            }
        },
    )

    verdict = Verdict(
        task_id="verdict", python_callable=judge, page="{{ page_of(params) }}", trigger_rule="all_done", do_xcom_push=True
    )

    @task
    def ship(params):
        """Put what follows here; it gets the file to ship of every model."""
        fleet = read_fleet(params["output"])
        chosen = {model["model_id"]: model["variants"].get(model["recommended_variant"]) for model in fleet["models"]}
        return {name: f"{params['output'].rstrip('/')}/{variant['path']}" for name, variant in chosen.items() if variant}

    @task
    def hold(params):
        """Fails, so that the run is red and its callbacks tell somebody; put a ticket here."""
        fleet = read_fleet(params["output"])
        if fleet is None:
            raise AirflowFailException(f"no fleet at {params['output']}: the export's log says why")
        held = [model for model in fleet["models"] if model["status"] != "blessed"]
        reasons = [f"{model['model_id']}: {(model['reason'] or {}).get('code', model['status'])}" for model in held]
        reasons = reasons or ["the last finished run is all blessed, but this one did not end well: see the export's log"]
        raise AirflowFailException(f"{len(held)} of {len(fleet['models'])} models are not blessed; {'; '.join(reasons)}")

    choose() >> [export_here, export_on_dataflow] >> verdict >> [ship(), hold()]


if __name__ == "__main__":
    run = dag.test(run_conf=dict(argument.split("=", 1) for argument in sys.argv[1:]))
    print(f"run: {run.state}")
    for instance in run.get_task_instances():
        print(f"{instance.task_id}: {instance.state}")
    sys.exit(run.state != "success")
