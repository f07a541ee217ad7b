"""The work folders of models that are exported."""

from __future__ import annotations

import os
from collections.abc import Sequence

from liteferry import storage
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan


def make_room(plans: Sequence[ModelPlan]) -> None:
    """Empties the work folders of the plans, which may hold files of an earlier attempt."""
    for plan in plans:
        storage.remove_tree(plan.staging_directory())
        storage.remove_tree(bound_rows.directory(plan))
        for folder in bound_rows.work_directories(plan):
            os.makedirs(folder, exist_ok=True)
