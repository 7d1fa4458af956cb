"""Where MLflow lives, how it is reached, and how it is told that it does not answer."""

import logging
import os
import re
import sqlite3
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from thaw.errors import InputError
from thaw.files import write_text, write_with

KNOWN = r"https?://[^/]|(sqlite|postgresql|mysql|mssql)(\+\w+)?://|databricks(://|$)"
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # where the module's name differs
VARIABLE = "MLFLOW_TRACKING_URI"

QUIET = {  # environment defaults, set only where the user did not; `ui_command` wants them too
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing here may need the network
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # background workers of features that are not used here
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own default retries for four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
}


class StoreAway(Exception):
    """The store cannot be reached now; the message is the reason in a few words."""


@dataclass(frozen=True)
class Store:
    """Where MLflow lives. ``root`` is the repository: lock, fingerprint and the embedded store are anchored there."""

    uri: str
    root: Path
    named_by: str = VARIABLE  # what the user wrote the address in, for messages

    @property
    def embedded(self) -> bool:
        """The default store, which is this project's alone: its runs may be removed for good."""
        return self.uri == f"sqlite:///{self.database}"

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def location(self, experiment: str) -> str | None:
        """Artifact root of an experiment; None: the server's own. A bare database would put it below the working directory."""
        served = self.uri.startswith(("http://", "https://", "databricks"))
        return None if served else (self.artifacts / experiment).as_uri()


def find_store(environment: Mapping[str, str] = os.environ) -> Store:
    """The store that ``environment`` asks for; the root is ``DVC_ROOT``, else the working directory. Raises `InputError`."""
    root = Path(environment.get("DVC_ROOT") or Path.cwd()).resolve()
    return store_at(environment.get(VARIABLE) or f"sqlite:///{root / 'mlflow.db'}", root)


def store_at(uri: str, root: Path, named_by: str = VARIABLE) -> Store:
    """The store at ``uri``. Raises `InputError` for an address that MLflow would not know, or not write to."""
    if uri.startswith("file:") or (":" not in uri and uri != "databricks"):
        raise InputError(f"{named_by}: {uri!r} is a folder, which MLflow no longer writes; set sqlite:///<file> or http://<server>")
    if not re.match(KNOWN, uri):
        shown = re.sub(r"^(.*//)?.*@", r"\1…@", uri)  # without a password
        valid = "http://<server>, https://<server>, sqlite:///<file>, postgresql://, mysql://, mssql:// or databricks"
        raise InputError(f"{named_by}: {shown!r} is no address that MLflow knows; set {valid}")
    return Store(uri, root, named_by)


def ui_command(root: Path, port: int = 5000) -> list[str]:
    """Arguments that serve MLflow's page for the store of the repository at ``root``, on this machine alone.

    Run it with ``QUIET`` in the environment. Raises `InputError` if the store is a server, which has a page of its own.
    """
    store = find_store({**os.environ, "DVC_ROOT": str(root)})
    if store.location("") is None:
        raise InputError(f"{VARIABLE} names a server: open its address in a browser, or unset it to see the local store")
    served = ["--backend-store-uri", store.uri, "--artifacts-destination", store.artifacts.as_uri()]
    return [sys.executable, "-m", "mlflow", "server", *served, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def lock(store: Store) -> FileLock:
    """Held while the schema, an experiment or a whole synchronisation is made: two first starts would race."""
    path = store.root / ".thaw" / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def project_id(store: Store) -> str:
    """A random id, which tells this clone's runs from those of other clones on the same server. Call with the lock held."""
    path = store.root / ".thaw" / "project-id"
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


def connect(store: Store) -> Any:
    """`client_of` the store, which is made if it is the embedded one and absent. Call with the lock held."""
    be_quiet()
    if store.embedded and not store.database.exists():
        write_with(store.database, lambda path: _create_schema(path, store.artifacts))
    return client_of(store)


def client_of(store: Store) -> Any:
    """An ``MlflowClient`` of the store. Raises `InputError` if the database's driver does not load."""
    be_quiet()
    from mlflow import MlflowClient
    from sqlalchemy.exc import NoSuchModuleError

    try:
        return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)
    except (ImportError, NoSuchModuleError) as error:
        scheme, module = store.uri.partition(":")[0], getattr(error, "name", None) or "another driver"
        mend = f"install {PACKAGES.get(module, module)} into this environment"
        raise InputError(f"{store.named_by}: the driver of {scheme} does not load ({error}); {mend}") from error


def import_mlflow() -> None:
    """For a process that shall have it; which takes a second."""
    be_quiet()
    import mlflow  # noqa: F401


def be_quiet() -> None:
    """Call before the first import of mlflow, which reads its environment then; its logger obeys even where someone imported it before."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())


def _create_schema(path: Path, artifacts: Path) -> None:
    """Written under another name, then renamed: a schema that was killed half way would not be mended by MLflow."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", artifacts.as_uri()).engine.dispose()


def open_experiment(client: Any, store: Store, name: str) -> str:
    """Id of the experiment, which is made if absent and brought back if someone deleted it. Call with the lock held."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=store.location(name))
        except MlflowException as error:  # another machine may have been faster, which our lock cannot know
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return client.get_experiment_by_name(name).experiment_id
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if store.embedded and found.artifact_location != store.location(name):
        _rehome(store, found.experiment_id, (store.artifacts / name).as_uri())
    return found.experiment_id


def _rehome(store: Store, experiment_id: str, location: str) -> None:
    """Artifact paths are stored absolute: without this, a repository that was moved or copied writes where it used to lie."""
    with closing(sqlite3.connect(store.database, timeout=20)) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location, experiment_id))
        moved = "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts' WHERE experiment_id = ?"
        database.execute(moved, (location, experiment_id))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_away(error: Exception, store: Store) -> bool:
    """Whether the store did not answer, as opposed to having answered with an error."""
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    if store.embedded:  # a file that cannot be used is a fault to be seen
        return False
    if store.uri.startswith("http") and re.match(r"API request to endpoint .* failed with error code (404|5\d\d)", str(error)):
        return True  # whoever answered, a gateway or proxy, is not MLflow
    return any(isinstance(e, RequestException | OperationalError) for e in _chain(error))


def is_the_stores(error: Exception) -> bool:
    """Whether the store, its driver or the way to it is at fault, and not this package."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, InputError | MlflowException | SQLAlchemyError | OSError)


def reason(error: BaseException) -> str:
    """The innermost cause on one line, without addresses: a store's URI may hold a password."""
    if isinstance(error, InputError):
        return str(error)
    innermost = list(_chain(error))[-1]
    return re.sub(r"\w+://\S+", "<store>", " ".join(str(innermost).split()))[:160] or type(innermost).__name__
