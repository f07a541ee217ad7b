"""The names in an output folder, OUT: every file and folder that LiteFerry makes there."""

from __future__ import annotations

MODELS = "models"  # MODELS/<model_id>: one folder for each model
ATTEMPTS = "attempts"  # ATTEMPTS/<model_id>: reports of checkpoints that are held back
ASSETS = "assets"  # scripts of the pages
HISTORY = ".history"  # what the next run compares with
LOGS = ".logs"  # LOGS/<model_id>.log: what the processes that worked on a model printed
STAGING = ".staging"  # work folders, locks and progress of a run that goes on
FOLDERS = (MODELS, ATTEMPTS, ASSETS, HISTORY, LOGS, STAGING)

FLEET_FACTS = "fleet.json"
FLEET_TABLE = "fleet.parquet"
INDEX = "index.html"
OF_THE_FLEET = (FLEET_FACTS, FLEET_TABLE, INDEX)
LAST_RUN = f"{HISTORY}/last_run.json"

# In a model's folder. One of the last two is the marker: a model is published once it is there.
REPORT = "report.json"
PAGE = "report.html"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"
