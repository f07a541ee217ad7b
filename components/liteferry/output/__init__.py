"""The output folder: its layout, who may write to it, and how a reader sees whole models only."""

from liteferry.output.model_folder import Folder
from liteferry.output.progress import Watcher
from liteferry.output.publish import finished_report, judge_and_publish

__all__ = ["Folder", "Watcher", "finished_report", "judge_and_publish"]
