"""The names in an output folder, OUT: every file and folder that LiteFerry makes there."""

from __future__ import annotations

MODELS = "models"  # MODELS/<model_id>: one folder for each model
ATTEMPTS = "attempts"  # ATTEMPTS/<model_id>: reports of checkpoints that are held back
ASSETS = "assets"  # scripts of the pages
HISTORY = ".history"  # history, for comparison by the next run
LOGS = ".logs"  # LOGS/<model_id>.log: what the processes that worked on a model printed
STAGING = ".staging"  # work folders, locks and progress of a running run
FOLDERS = (MODELS, ATTEMPTS, ASSETS, HISTORY, LOGS, STAGING)

FLEET_FACTS = "fleet.json"
FLEET_TABLE = "fleet.parquet"
FLEET_PARTS = "fleet"  # the rows of a large fleet, in parts; fleet.parquet is not written then
INDEX = "index.html"
OF_THE_FLEET = (FLEET_FACTS, FLEET_TABLE, INDEX)
LAST_RUN = f"{HISTORY}/last_run.json"
HISTORY_PARTS = f"{HISTORY}/parts"  # of a large fleet
PAGE_PARTS = f"{ASSETS}/fleet"  # what the page of a large fleet loads when it is looked for

# In a model's folder. One of the last two is the marker: a model is published once it is there.
REPORT = "report.json"
PAGE = "report.html"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"
# On a store, in a model's folder while a newer blessed one is sent: the last blessed one, whole, with its own report and marker.
LAST_GOOD = "last_good"
# Proof files beside a model's artifacts: a bill of materials, a card and, for a blessed model, a statement with the digest of
# every file.
BILL = "model.cdx.json"
CARD = "model_card.md"
STATEMENT_ENDING = ".intoto.jsonl"
_LONGEST_NAME = 200  # a file's name has at most 255 bytes, and is written under a longer one first


def statement_name(model_id: str) -> str:
    """The name of the statement in a blessed model's folder."""
    return model_id.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore") + STATEMENT_ENDING


def beside(model_id: str) -> frozenset[str]:
    """The names in a model's folder of what is made of the model, and is no artifact of it."""
    return frozenset({REPORT, PAGE, BILL, CARD, BLESSED, NOT_BLESSED, statement_name(model_id)})
