"""Beam's DoFns, PTransforms and CombineFns, one stage per file. Stages only connect steps; the functions that they call do the
work and decide.
"""

from liteferry.pipeline.local_workers import follow_launcher

follow_launcher()  # here, because a worker process imports no other module of LiteFerry before its first element
