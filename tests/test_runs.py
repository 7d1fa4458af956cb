"""The run folder: what is written is what is read, byte for byte the same for the same content."""

from pathlib import Path

import numpy as np

from thaw.runs import (
    Identity,
    Predictions,
    Record,
    code_sha256,
    identify,
    read_cost,
    read_predictions,
    read_record,
    write_cost,
    write_predictions,
    write_record,
)


def record() -> Record:
    return Record("0123", "lite0", "full", 0, "toy", "finetune", False, ["a", "b"], {"seed": 1}, [], [{"epoch": 1}], {"best_epoch": 1}, 5)


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    write_record(record(), tmp_path)
    assert read_record(tmp_path) == record()
    assert record().identity.folder() == Path("runs/lite0/full/0")
    assert record().identity.cost_file() == Path("costs/lite0/full/0.json")
    assert str(record().identity) == "lite0/full/0"


def test_predictions_survive_the_file_and_have_no_clock(tmp_path: Path) -> None:
    predictions = Predictions(np.array(["x", "yy"]), np.array(["val", "test"]), np.array([[1, 2], [3, 4]], np.float32))
    write_predictions(predictions, tmp_path / "a")
    write_predictions(predictions, tmp_path / "b")
    found = read_predictions(tmp_path / "a")
    assert (found.id == predictions.id).all() and (found.split == predictions.split).all() and (found.logits == predictions.logits).all()
    assert (tmp_path / "a/predictions.npz").read_bytes() == (tmp_path / "b/predictions.npz").read_bytes()


def test_costs_lie_apart(tmp_path: Path) -> None:
    identity = Identity("lite0", "full", 3)
    write_cost(identity, {"seconds": 1.5}, tmp_path)
    assert read_cost(identity, tmp_path) == {"seconds": 1.5}


def test_an_identity_depends_on_every_input_and_not_on_order() -> None:
    inputs = {"seed": 1, "settings": {"rate": 0.1}}
    assert identify(inputs) == identify({"settings": {"rate": 0.1}, "seed": 1}) != identify({"seed": 1, "settings": {"rate": 0.2}})
    assert len(identify(inputs)) == 16


def test_code_is_told_by_name_and_content(tmp_path: Path) -> None:
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("1")
    b.write_text("2")
    before = code_sha256([a, b])
    assert code_sha256([b, a]) == before
    b.write_text("3")
    assert code_sha256([a, b]) != before
