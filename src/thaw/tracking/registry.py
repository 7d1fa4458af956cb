"""The model at the end in MLflow's model registry: one version for each record, whose files lie in a run of ``<experiment>-models``.

These runs are apart from those of the results and never move to a history: a version must find its files as long as it is there.
"""

import base64
import io
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thaw.files import read_json, sha256_of_value
from thaw.runs import Record
from thaw.tracking.content import params_of
from thaw.tracking.entries import folder_of, log, measured, own_runs, remove
from thaw.tracking.store import Store, open_experiment, project_id

MODEL, CARD = "model.json", "MODEL_CARD.md"
FOLDER = Path("models/final")
PACKAGE = Path(__file__).parents[1]
INSIDE = "model"  # where the run keeps the model's files
SERVED = "served_model.py"
NEEDED = (
    *("jaxtyping", "mlflow", "numpy", "pandas", "pillow", "pydantic", "ruamel.yaml"),
    *("safetensors", "scipy", "timm", "torch", "torchvision"),
)
"""What the code that reads a model imports, for whoever serves it in an environment of its own."""


def describes(folder: Path) -> list[Path]:
    """Files that say which model lies below ``folder``, relative to it; [] where there is none."""
    return [FOLDER / name for name in (MODEL, CARD) if (folder / FOLDER / MODEL).is_file()]


def register(client: Any, store: Store, name: str, folder: Path) -> bool:
    """Make the model below ``folder`` a version of ``name``, once; True where that was new. Call with the lock held.

    A version is made again whose files are gone, that was killed half way, or whose model.json differs (the same record, another graph).
    The description is the card as it is now.
    """
    about, card = read_json(folder / FOLDER / MODEL), (folder / FOLDER / CARD).read_text(encoding="utf-8")
    experiment_id = open_experiment(client, store, f"{name}-models")  # also where nothing is to do: it brings a moved store's paths home
    tags = {key: about[key] for key in ("record_id", "backbone", "strategy", "dataset", "data_sha256")}
    tags["model_sha256"] = sha256_of_value(about)
    versions = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get("record_id") == about["record_id"]]
    whole = [each for each in versions if each.tags.get("model_sha256") == tags["model_sha256"] and _is_whole(client, store, each)]
    for broken in (each for each in versions if each not in whole[:1]):
        client.delete_model_version(name, broken.version)
    if whole:
        if whole[0].description != card:
            client.update_model_version(name, whole[0].version, card)
        return False
    for run in own_runs(client, store, experiment_id):
        if run.data.tags.get("record_id") == about["record_id"]:
            remove(client, store, run)
    run_id = _store(client, store, experiment_id, about, folder)
    _ensure_model(client, name)
    client.create_model_version(name, f"runs:/{run_id}/{INSIDE}", run_id, tags, description=card)
    return True


def _is_whole(client: Any, store: Store, registered: Any) -> bool:
    """Whether the files are there; asked of the disk where the store is this project's own."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(registered.run_id)
        if run.info.lifecycle_stage != "active" or run.info.status != "FINISHED":
            return False
        if store.embedded:
            return (store.artifacts / folder_of(run) / "artifacts" / INSIDE / "MLmodel").is_file()
        return any(file.path == f"{INSIDE}/MLmodel" for file in client.list_artifacts(registered.run_id, INSIDE))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _store(client: Any, store: Store, experiment_id: str, about: dict[str, Any], folder: Path) -> str:
    """A finished run that holds the model's files, its params and validation figures: its id."""
    record = Record(**read_json(folder / FOLDER / "record.json"))
    tags = {"record_id": about["record_id"], "kind": "final", "data_sha256": about["data_sha256"], "project": project_id(store)}
    run_id = client.create_run(experiment_id, tags=tags, run_name=f"{about['backbone']}/{about['strategy']}").info.run_id
    params = {key: value for key, value in params_of(record).items() if key != "fold"}
    figures = [(key, 0, float(value)) for key, value in record.metrics.items()]
    log(client, run_id, params, measured(figures, client.get_run(run_id).info.start_time))
    with tempfile.TemporaryDirectory() as temporary:
        save(Path(temporary) / INSIDE, about, folder)
        client.log_artifacts(run_id, temporary)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def save(path: Path, about: dict[str, Any], folder: Path) -> None:
    """MLflow's own format: the model folder, the code that reads it, signature, an example, and what must be installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's about itself: its type hints, when imported, and what it does with pandas
        _save(path, about, folder)


def _save(path: Path, about: dict[str, Any], folder: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    from thaw.deployed import columns_of  # torch comes with it, which nothing else here needs

    inputs: list[Any] = [ColSpec("string", "image")]
    predicted, *probabilities = columns_of(about["classes"])
    outputs: list[Any] = [ColSpec("string", predicted), *(ColSpec("double", name) for name in probabilities)]
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(Path(__file__).with_name(SERVED)),
        artifacts={"model": str(folder / FOLDER)},
        code_paths=[str(PACKAGE)],
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        input_example=pd.DataFrame({"image": [example(about["stored_side"])]}),
        pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
    )
    saved = Model.load(str(path))
    saved.flavors["python_function"]["model_code_path"] = SERVED  # it lies beside; MLflow notes where it was on this machine
    saved.save(str(path / "MLmodel"))


def example(side: int) -> str:
    """A request's value: a gray square as PNG. No image of the data set, which may not be redistributed."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Images in, classes and probabilities out; made by stage `final` of thaw.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
