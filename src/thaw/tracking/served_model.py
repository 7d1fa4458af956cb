"""What MLflow loads and serves: its "model from code". A request's column ``image`` holds the base64 of a file's bytes.

MLflow copies this file into the model and runs it there, beside a copy of the package as it was (`thaw.tracking.registry`); so it alone
imports mlflow at the top, and does something when it runs. The tensors come from the model folder's safetensors; nothing is unpickled.
"""

import base64
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from thaw.deployed import read_model
from thaw.images import BadImage


class ImageModel(PythonModel):
    """Table of images -> table of predictions, row by row, as `thaw predict` writes it."""

    def load_context(self, context: Any) -> None:
        self.model = read_model(Path(context.artifacts["model"]))
        self.lock = threading.Lock()  # a server asks from several threads, and a network that reads its blocks notes what they give

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # type: ignore[override]
        images = np.stack([self._read(number, text) for number, text in enumerate(model_input["image"])])
        with self.lock:
            logits = self.model.logits(images)
        probabilities = self.model.probabilities(logits)
        rows = [[name, *row] for name, row in zip(self.model.predicted(probabilities), probabilities.tolist(), strict=True)]
        return pd.DataFrame(rows, columns=self.model.columns, index=model_input.index)

    def _read(self, number: int, text: str) -> np.ndarray:
        """By way of a file, as everywhere: one decoder, one result. A request that holds no image is the asker's mistake (status 400)."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "image"
            try:
                file.write_bytes(base64.b64decode(text, validate=True))
                return self.model.read(file)
            except (ValueError, BadImage) as error:
                said = f"row {number}: 'image' is not the base64 of an image file ({type(error).__name__})"
                raise MlflowException.invalid_parameter_value(said) from error


set_model(ImageModel())
