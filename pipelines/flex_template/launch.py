"""`liteferry run` as a Dataflow Flex Template starts it: parameters as `--name=value`, and no waiting for the job's end.

    python launch.py --config=gs://bucket/job.yaml --output=gs://bucket/out --force=false --project=... --region=...

metadata.json beside this file describes the parameters. Everything else that Dataflow adds goes to Beam. The options of
dataflow.yaml count where no flag says otherwise, and the workers run the image that this was started from.
"""

import os
import pathlib
import sys

import liteferry.cli
from liteferry.pipeline.beam_options import without_values

HERE = pathlib.Path(__file__).resolve().parent
DEFAULTS = {
    # Beside this file in the image; in a checkout where it belongs.
    "--runner_config": next(
        (str(path) for path in (HERE / "dataflow.yaml", HERE.parents[1] / "runner_configs" / "dataflow.yaml") if path.exists()),
        "",
    ),
    "--sdk_container_image": os.environ.get("LITEFERRY_IMAGE", ""),
}


def flags(parameters: list[str]) -> list[str]:
    """What `liteferry run` gets: parameters without a value are left out, as are switches that are false."""
    given = [parameter for parameter in parameters if not parameter.endswith("=")]
    names = {parameter.partition("=")[0] for parameter in given}
    missing = [f"{name}={value}" for name, value in DEFAULTS.items() if value and name not in names]
    return [*without_values([*missing, *given], switches=("--force", "--verbose", "--quiet")), "--no_wait_until_finish"]


if __name__ == "__main__":
    sys.exit(liteferry.cli.main(["run", *flags(sys.argv[1:])]))
