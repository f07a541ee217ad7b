"""The output folder: its layout, who may write to it, and how a reader sees whole models only."""

from liteferry.output.finished import finished_report
from liteferry.output.model_folder import ModelFolder
from liteferry.output.progress import Watcher
from liteferry.output.publish import judge_and_publish

__all__ = ["ModelFolder", "Watcher", "finished_report", "judge_and_publish"]
