"""Beam's DoFns, PTransforms and CombineFns, one stage a file; nowhere else. Stages wire; the functions that they call decide."""

from liteferry.pipeline.local_workers import follow_launcher

follow_launcher()  # here, because a worker process imports nothing else of ours before its first element
