"""Whether the store answers, in its schema, and which records it holds. Asks; makes and mends nothing."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thaw.tracking.entries import all_runs, own_runs
from thaw.tracking.store import Store, be_quiet, client_of, is_the_stores, reason

PATIENCE = 5.0
"""Seconds that a store has to answer."""


@dataclass(frozen=True)
class Health:
    """``mend``: a command, "" where nothing is wrong. ``records``: ids of finished runs by experiment; None: could not be asked."""

    said: str
    mend: str = ""
    records: dict[str, set[str]] | None = None


def look_at_store(store: Store, experiments: list[str], patience: float = PATIENCE) -> Health:
    """``experiments``: whose records are asked for. At most about ``patience`` s beside importing MLflow."""
    if store.embedded and not store.database.exists():
        return Health("no mlflow.db yet; `dvc repro track` makes it", records={})
    be_quiet()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # here, so that the patience is for the store alone

    asked = _within(patience, lambda: _ask(store, experiments))
    return asked or Health(f"the store does not answer within {patience:g} s", _away(store))


def _within(patience: float, work: Callable[[], Health]) -> Health | None:
    """What ``work`` says; None if it takes longer. It may go on in its thread, which ends with this process."""
    said: list[Health | BaseException] = []

    def run() -> None:
        try:
            said.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again below, where somebody listens
            said.append(error)

    thread = threading.Thread(target=run, name="store", daemon=True)
    thread.start()
    thread.join(patience)
    answer = said[0] if said else None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _ask(store: Store, experiments: list[str]) -> Health:
    try:
        if not store.uri.startswith(("http", "databricks")):
            wrong = _schema(store)
            if wrong is not None:
                return wrong
        client = client_of(store)
        records = {name: _records(client, store, name) for name in experiments}
    except Exception as error:
        if not is_the_stores(error):
            raise
        return Health(f"the store cannot be used ({reason(error)})", _away(store))
    return Health(f"answers, {sum(map(len, records.values()))} runs of this project", records=records)


def _schema(store: Store) -> Health | None:
    """What is wrong with a database's tables; None if nothing is."""
    import sqlalchemy
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    engine = sqlalchemy.create_engine(store.uri)
    try:
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                return Health("the database has no tables of MLflow", _anew(store) if store.embedded else "dvc repro track")
            found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
    finally:
        engine.dispose()
    script = ScriptDirectory.from_config(_get_alembic_config(""))
    current = script.get_current_head()
    if found == current:
        return None
    if found in {each.revision for each in script.walk_revisions()}:
        named = "sqlite:///mlflow.db" if store.embedded else '"$MLFLOW_TRACKING_URI"'
        return Health(f"the schema is an older MLflow's ({found}, not {current})", f"mlflow db upgrade {named}")
    return Health(f"the schema is not one of this MLflow's ({found}, not {current}): another version made it", _anew(store) or "make setup")


def _records(client: Any, store: Store, experiment: str) -> set[str]:
    found = client.get_experiment_by_name(experiment)
    if found is None or found.lifecycle_stage == "deleted" or not (store.embedded or (store.root / ".thaw" / "project-id").is_file()):
        return set()
    runs = all_runs(client, found.experiment_id) if store.embedded else own_runs(client, store, found.experiment_id)
    return {run.data.tags["record_id"] for run in runs if run.info.status == "FINISHED" and "record_id" in run.data.tags}


def _anew(store: Store) -> str:
    """The embedded store is a copy of the records: made again, nothing but people's own notes is lost."""
    return "rm -r mlflow.db mlartifacts; dvc repro track" if store.embedded else ""


def _away(store: Store) -> str:
    """What to do about a store that does not answer."""
    if store.embedded:
        return _anew(store)
    server = re.match(r"https?://", store.uri)
    return f"start the {'server' if server else 'database'} that {store.named_by} names, or `unset {store.named_by}`"
