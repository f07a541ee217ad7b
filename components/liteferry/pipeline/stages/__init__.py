"""The only home of Beam's DoFns, PTransforms and CombineFns, one stage a file. Stages wire; the functions they call think."""

from liteferry.pipeline.local_workers import follow_launcher

follow_launcher()  # here, because a worker process imports nothing else of ours before its first element
