"""MLflow as a copy of the run records, for looking at. The only package that imports mlflow, and only where it is used.

Records on disk are the truth. `track` makes the experiments equal to them; `LiveRun` shows a training while it goes on and can
never stop it; `download_report` fetches what the report is made of. The default store is ``mlflow.db`` + ``mlartifacts/`` at the
repository root; ``MLFLOW_TRACKING_URI`` wins where set.

    store        where MLflow lives, and whether it answers      content      what a run holds: a pure function of the files
    entries      single runs: list, import, copy, remove         experiments  runs made equal to contents
    live         a training while it goes on                     records      files on disk -> contents -> experiments
    bundle       what the report reads, into the store and back  registry     the model at the end, a version for each record
    served_model what MLflow loads and serves: run by MLflow, imported by nothing here
    bundle       what the report reads, into the store and back       health       whether the store answers, in its schema
"""

from thaw.tracking.bundle import ReportInputs, download_report
from thaw.tracking.content import Content, content_of, params_of, tags_of
from thaw.tracking.experiments import Changes
from thaw.tracking.health import Health, look_at_store
from thaw.tracking.live import LiveRun, process_start
from thaw.tracking.records import track
from thaw.tracking.store import QUIET, Store, StoreAway, find_store, ui_command

__all__ = [
    "QUIET",
    "Changes",
    "Content",
    "Health",
    "LiveRun",
    "ReportInputs",
    "Store",
    "StoreAway",
    "content_of",
    "download_report",
    "find_store",
    "look_at_store",
    "params_of",
    "process_start",
    "tags_of",
    "track",
    "ui_command",
]
