"""A TFX pipeline on this machine: sample rows and checkpoints through the LiteFerry component, and what ML Metadata knows after.

    python pipelines/tfx_local.py --examples examples --checkpoints 'checkpoints/*.keras' --pipeline_root root [BEAM FLAGS]

`--examples` is a folder as ExampleGens leave them (`Split-train`, `Split-eval`), imported as an artifact; or, with all of TFX
installed, a folder of TFRecord files, which ImportExampleGen then splits. Exit status: 0 blessed, 1 not blessed. Runs with
`ml-pipelines-sdk` alone, but for ImportExampleGen and `--push_to`.
"""

import argparse
import json
import os
import sys

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner

from liteferry.tfx import LiteFerry, artifacts


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", required=True, metavar="DIR", help="folder of sample rows")
    parser.add_argument("--checkpoints", metavar="GLOB", help="checkpoints to export")
    parser.add_argument("--model", metavar="DIR", help="a Model artifact's folder, as a Trainer leaves it, to export")
    parser.add_argument("--job", metavar="FILE", help="job file with everything else")
    parser.add_argument("--split", help="split of the examples; by default eval")
    parser.add_argument("--pipeline_root", required=True, metavar="DIR", help="where artifacts and metadata.sqlite go")
    parser.add_argument(
        "--push_to", metavar="DIR", help="push the model there if it is blessed (one checkpoint; needs all of TFX)"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="sandboxes at once, by default one for each core")
    return parser.parse_known_args(argv)


def components_of(arguments):
    """Rows (and a model) -> LiteFerry -> Pusher."""
    rows = _example_node(os.path.abspath(arguments.examples))
    nodes = [rows]
    model = None
    if arguments.model:
        model = importer.Importer(os.path.abspath(arguments.model), artifacts.Model).with_id("Model")
        nodes.append(model)
    ferry = LiteFerry(
        models=model.outputs["result"] if model else None,
        checkpoints=os.path.abspath(arguments.checkpoints) if arguments.checkpoints else None,
        examples=rows.outputs["examples" if "examples" in rows.outputs else "result"],
        job=os.path.abspath(arguments.job) if arguments.job else None,
        split=arguments.split,
        processes=arguments.processes,
    )
    nodes.append(ferry)
    if arguments.push_to:
        nodes.append(_pusher(ferry, os.path.abspath(arguments.push_to)))
    return nodes


def _example_node(folder):
    splits = sorted(name.removeprefix("Split-") for name in os.listdir(folder) if name.startswith("Split-"))
    if splits:
        names = {"split_names": json.dumps(splits)}
        where = {"properties": names} if artifacts.IS_FULL_TFX else {"custom_properties": names}
        return importer.Importer(folder, artifacts.Examples, **where).with_id("Examples")
    if not artifacts.IS_FULL_TFX:
        sys.exit(f"{folder}: has no Split-* folder, and without all of TFX there is no ImportExampleGen to make them")
    from tfx.components import ImportExampleGen

    return ImportExampleGen(input_base=folder)


def _pusher(ferry, folder):
    from tfx.components import Pusher
    from tfx.proto import pusher_pb2

    destination = pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=folder))
    outputs = ferry.outputs
    return Pusher(model=outputs["exported_models"], model_blessing=outputs["blessing"], push_destination=destination)


def show_lineage(store):
    """Prints each execution with its artifacts, in the order of the executions. Returns whether the last blessing says yes."""
    known = {found.id: found for found in store.get_artifacts()}
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    executions = sorted(store.get_executions(), key=lambda execution: execution.id)
    runs = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
    is_blessed = False
    for execution in executions:
        state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
        print(f"execution {execution.id}: {runs[execution.type_id]} {state}")
        for event in store.get_events_by_execution_ids([execution.id]):
            found = known[event.artifact_id]
            way = "in " if event.type == metadata_store_pb2.Event.INPUT else "out"
            about = found.custom_properties
            said = {name: _plain(about[name]) for name in ("verdict", "blessed") if name in about}
            print(f"  {way} {event.path.steps[0].key}: {kinds[found.type_id]} {found.id} {found.uri} {said or ''}".rstrip())
            if way == "out" and event.path.steps[0].key == "blessing":
                is_blessed = said.get("blessed") == 1
    return is_blessed


def _plain(value):
    return getattr(value, value.WhichOneof("value"))


def main(argv):
    arguments, beam_flags = parse_arguments(argv)
    root = os.path.abspath(arguments.pipeline_root)
    os.makedirs(root, exist_ok=True)
    connection = metadata.sqlite_metadata_connection_config(os.path.join(root, "metadata.sqlite"))
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="liteferry",
            pipeline_root=root,
            components=components_of(arguments),
            metadata_connection_config=connection,
            enable_cache=True,
            beam_pipeline_args=beam_flags,
        )
    )
    return 0 if show_lineage(metadata_store.MetadataStore(connection)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
