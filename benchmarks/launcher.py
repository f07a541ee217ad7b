"""`liteferry run --config JOB --output OUT --quiet`, and in the end the largest memory that the launching process itself had.

python benchmarks/launcher.py JOB OUT [FLAG...]     prints {"driver_peak_bytes": ..., "package": where liteferry's code lies}
"""

from __future__ import annotations

import json
import resource
import sys

import liteferry
from liteferry.cli import main

if __name__ == "__main__":
    status = main(["run", "--config", sys.argv[1], "--output", sys.argv[2], "--quiet", *sys.argv[3:]])
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"driver_peak_bytes": peak_bytes, "package": liteferry.__path__[0]}), flush=True)
    sys.exit(status)
