"""`liteferry run` as a Python file, for schedulers that start a file by its path and pass flags as `--name=value`.

    python pipelines/export.py --config=job.yaml --output=out

The flags, the output and the exit status are those of `liteferry run`; flags that it does not know go to Beam. LiteFerry has
to be installed in the Python that runs this. What a Dataflow Flex Template starts is flex_template/launch.py, and does not wait.
"""

import sys

import liteferry.cli

if __name__ == "__main__":
    sys.exit(liteferry.cli.main(["run", *sys.argv[1:]]))
