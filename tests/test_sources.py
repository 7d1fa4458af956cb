"""The data sets as they really are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from thaw.errors import InputError
from thaw.images import measure
from thaw.index import labels_of, read_index, write_index
from thaw.params import Data
from thaw.progress import Progress
from thaw.sources import fetch_source
from thaw.sources.elpv import MODULE_ENDS, infer_modules, label_of
from thaw.stages.fetch import check_files


def data(source: str, **dials: str) -> Data:
    """The block of params.yaml."""
    return Data.model_validate(
        {"source": source, "path": "data/own", "table": "", "name": "", "group": "", "on_bad": "stop", "elpv_label": "p_over_half", **dials}
    )


THIRDS = np.array([0, 1, 2, 3])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


def test_elpv_is_what_was_published(raw: Path) -> None:
    """Counts of Deitsch et al. 2019 and of the data set's page: images, types, probabilities, modules."""
    fetched = fetch_source(data("elpv", elpv_label="four_classes"), raw / "elpv")
    table = fetched.table
    assert table["label"].value_counts().to_dict() == {"p0": 1508, "p100": 715, "p33": 295, "p67": 106}
    assert table["domain"].value_counts().to_dict() == {"poly": 1550, "mono": 1074}
    modules = table.groupby("group")["domain"].agg(["nunique", "first"])
    assert set(modules["nunique"]) == {1} and Counter(modules["first"]) == {"poly": 26, "mono": 18}
    assert len(list((raw / "elpv" / "images").iterdir())) == 2624
    assert measure(raw / "elpv" / table["path"].tolist()[0]) == (300, 300, 1)
    assert fetched.dataset.weighted and "NC" in fetched.dataset.notes[0]


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        ("p_over_half", ["functional", "functional", "defective", "defective"]),
        ("p_over_zero", ["functional", "defective", "defective", "defective"]),
        ("drop_unsure", ["functional", "", "", "defective"]),
        ("four_classes", ["p0", "p33", "p67", "p100"]),
    ],
)
def test_label_rules(rule: str, labels: list[str]) -> None:
    assert label_of(THIRDS, rule) == labels


def test_default_labels_and_weights(raw: Path) -> None:
    table = fetch_source(data("elpv", elpv_label="p_over_half"), raw / "default").table
    assert table["label"].value_counts().to_dict() == {"functional": 1803, "defective": 821}
    assert sorted(table["weight"].round(4).unique()) == [0.3333, 0.6667, 1.0]
    dropped = fetch_source(data("elpv", elpv_label="drop_unsure"), raw / "dropped").table
    assert len(dropped) == 1508 + 715 and set(dropped["weight"]) == {1.0}
    kept = table.set_index("id")["group"]
    assert (dropped["group"].to_numpy() == kept.loc[dropped["id"]].to_numpy()).all()  # modules are counted before rows are dropped


def test_modules_end_where_they_should() -> None:
    numbers = infer_modules(2624)
    assert len(MODULE_ENDS) == 44 == numbers.max()
    assert [int(np.flatnonzero(numbers == module)[-1]) + 1 for module in range(1, 45)] == list(MODULE_ENDS)


def test_digits(raw: Path, tmp_path: Path) -> None:
    fetched = fetch_source(data("digits", elpv_label="p_over_half"), raw / "digits")
    assert len(fetched.table) == 1797 and len(fetched.dataset.classes) == 10 and not fetched.dataset.grouped
    table, bad = check_files(fetched.table, raw / "digits", Progress("test", 0))
    assert not bad
    write_index(table, tmp_path / "index.csv")
    index = read_index(tmp_path / "index.csv")
    assert labels_of(index, fetched.dataset.classes).tolist() == [int(label) for label in index["label"]]
    assert index["width"].unique().tolist() == [8] and index["sha256"].str.len().unique().tolist() == [64]


def test_bad_files_are_listed_with_reasons(raw: Path, tmp_path: Path) -> None:
    fetched = fetch_source(data("digits", elpv_label="p_over_half"), tmp_path / "raw")
    (tmp_path / "raw" / fetched.table["path"][3]).write_bytes(b"no image")
    (tmp_path / "raw" / fetched.table["path"][5]).unlink()
    table, bad = check_files(fetched.table, tmp_path / "raw", Progress("test", 0))
    assert [path for path, _ in bad] == [fetched.table["path"][3], fetched.table["path"][5]]
    assert all(reason for _, reason in bad)
    assert len(table) == 1795 and not table["sha256"].isna().to_numpy().any() and table["id"].tolist()[3] == "digit0004"


def test_elpv_leaks_by_position_as_was_measured(raw: Path) -> None:
    """Row number alone: about .86 AUC under plain folds, near chance where modules stay whole."""
    from thaw.folding import make_splits
    from thaw.leakage import position_auc
    from thaw.params import read_params
    from thaw.sides import folds_by_number

    params, fetched = read_params(), fetch_source(data("elpv", elpv_label="p_over_half"), raw / "leak")
    table, split = fetched.table, params.split
    labels = labels_of(table, fetched.dataset.classes)
    reached = {}
    for method in ("stratified", "grouped"):
        splits = make_splits(
            labels, table["group"].to_numpy(), table["id"].tolist(), method, len(split.folds), split.validation, split.seed
        )
        reached[method] = position_auc(labels, folds_by_number(splits["fold"].to_numpy()))
    assert reached["stratified"] == pytest.approx(0.86, abs=0.02)
    assert reached["grouped"] is not None and 0.40 <= reached["grouped"] <= 0.65


def test_a_label_outside_the_classes_is_named(raw: Path) -> None:
    fetched = fetch_source(data("digits", elpv_label="p_over_half"), raw / "again")
    with pytest.raises(InputError, match="label '9' is not among the classes"):
        labels_of(fetched.table, [str(k) for k in range(9)])
