"""`data.source: csv`: tables as people and spreadsheets write them."""

import re
import unicodedata
from pathlib import Path

import pytest
from test_listing import touch
from test_sources import data

from thaw.errors import InputError
from thaw.sources import fetch_source, with_groups
from thaw.sources.csv import fetch, read_table

FULL = "path,label,group,domain,split,weight\na/1.png,cat,p1,mono,train,0.5\na/2.png,dog,p2,poly,validation,1\n"


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return root


def test_all_columns(tmp_path: Path) -> None:
    fetched = fetch(table(tmp_path / "own", FULL), "labels.csv")
    assert fetched.table.to_dict("list") == {
        "id": ["a/1.png", "a/2.png"],
        "path": ["a/1.png", "a/2.png"],
        "label": ["cat", "dog"],
        "group": ["p1", "p2"],
        "domain": ["mono", "poly"],
        "split": ["train", "val"],
        "weight": [0.5, 1.0],
    }
    dataset = fetched.dataset
    assert (dataset.name, dataset.classes, dataset.grouped, dataset.weighted) == ("own", ["cat", "dog"], True, True)
    assert fetched.origin == [tmp_path / "own/a/1.png", tmp_path / "own/a/2.png"]


def test_what_is_not_there_is_plain(tmp_path: Path) -> None:
    fetched = fetch(table(tmp_path, "label,path\nNA,1.png\n 2 , 2.png\n"), "labels.csv")
    assert fetched.table.to_dict("list") == {
        "id": ["1.png", "2.png"],
        "path": ["1.png", "2.png"],
        "label": ["NA", "2"],
        "group": ["1.png", "2.png"],
        "domain": ["all", "all"],
        "split": ["", ""],
        "weight": [1.0, 1.0],
    }
    assert not fetched.dataset.grouped and not fetched.dataset.weighted


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path;label\na,b.png;cat\nc.png;dog\n", "utf-8"),
        ("path\tlabel\na,b.png\tcat\nc.png\tdog\n", "utf-8"),
        ('path,label\n"a,b.png",cat\n"c.png",dog\n', "utf-8-sig"),
        ('path,label\r\n"a,b.png",cat\r\n,\r\n\r\nc.png,dog\r\n', "utf-8"),
    ],
)
def test_as_spreadsheets_write_it(tmp_path: Path, text: str, encoding: str) -> None:
    found = read_table(table(tmp_path, text, encoding) / "labels.csv")
    assert found["path"].tolist() == ["a,b.png", "c.png"] and found["label"].tolist() == ["cat", "dog"]


def test_files_elsewhere_keep_no_path_of_this_machine(tmp_path: Path) -> None:
    away = tmp_path / "away"
    text = f"path,label\n{away}/x/1.png,cat\n../away/y/2.png,dog\n{tmp_path}/own/3.png,cat\n./4.png,dog\n"
    fetched = fetch(table(tmp_path / "own", text), "labels.csv")
    assert fetched.table["path"].tolist() == ["outside/x/1.png", "outside/y/2.png", "3.png", "4.png"]
    assert fetched.remarks[0].endswith("2 of its files lie outside {}; dvc repro does not notice when they change".format(tmp_path / "own"))
    assert fetched.origin is not None
    assert [path.resolve() for path in fetched.origin] == [
        away / "x/1.png",
        away / "y/2.png",
        tmp_path / "own/3.png",
        tmp_path / "own/4.png",
    ]


def test_paths_count_from_the_tables_folder(tmp_path: Path) -> None:
    table(tmp_path / "own/deep", "path,label\n1.png,cat\n../2.png,dog\n")
    fetched = fetch(tmp_path / "own", "deep/labels.csv")
    assert fetched.table["path"].tolist() == ["1.png", "outside/2.png"]
    assert fetched.origin is not None and fetched.origin[0] == tmp_path / "own/deep/1.png"


def test_letters_with_accents_are_found_however_the_disk_spells_them(tmp_path: Path) -> None:
    spelt = unicodedata.normalize("NFD", "été.png")
    touch(table(tmp_path, f"path,label\n{unicodedata.normalize('NFC', spelt)},cat\nb.png,dog\n"), spelt)
    origin = fetch(tmp_path, "labels.csv").origin
    assert origin is not None and origin[0].exists()


def test_groups_by_a_pattern_on_the_paths(tmp_path: Path) -> None:
    root = table(tmp_path / "own", "path,label\np1/1.png,cat\np2/2.png,dog\n")
    own = data("csv", path=str(root), table="labels.csv", group="(?P<group>p[0-9])/")
    fetched = fetch_source(own, tmp_path / "raw")
    found, dataset = with_groups(fetched.table, fetched.dataset, own)
    assert found["group"].tolist() == ["p1", "p2"] and dataset.grouped


def test_backslashes_of_windows_are_told(tmp_path: Path) -> None:
    rows = "path,label\n1.png,cat\nsub\\2.png,dog\n"
    with pytest.raises(InputError, match=r"labels\.csv: row 3: 'sub\\\\2\.png' is not there; write / for \\ in all paths"):
        fetch(table(tmp_path, rows), "labels.csv")
    (tmp_path / "sub\\2.png").write_text("a name like any other")
    assert fetch(tmp_path, "labels.csv").table["path"].tolist() == ["1.png", "sub\\2.png"]


def test_columns_that_are_not_used_are_told(tmp_path: Path) -> None:
    remarks = fetch(table(tmp_path, "path,label,Group,age\n1.png,cat,a,3\n2.png,dog,b,4\n"), "labels.csv").remarks
    assert remarks == [f"{tmp_path}/labels.csv: columns that are not used: Group, age"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\n1.png,cat\n", "has no column 'path'; valid: file, label"),
        ("path,lable\n1.png,cat\n", "has no column 'label'; did you mean 'lable'?"),
        ("path,label\n1.png,cat\n2.png,\n", "row 3 has no label; fill it in, or take the row out"),
        ("path,label\n1.png,cat\n\n\n2.png, \n", "row 5 has no label"),
        ("path,label\n1.png\n", "row 2 has no label"),
        ("path,label\n,cat\n", "row 2 has no path"),
        ("path,label,group\n1.png,cat,a\n2.png,dog,\n", "row 3 has no group"),
        ("path,label\n1.png,cat\n2.png,dog\n./1.png,cat\n", "rows 2 and 4 are the same file, '1.png'; keep one of them"),
        ("path,label,label\n1.png,cat,dog\n", "has two columns 'label'; rename one"),
        ("path,label\na,b.png,cat\n", "row 2 has 3 cells, and the header 2; put text that holds the separator in quotes"),
        ("path,label,split\n1.png,cat,trian\n", "row 2: split 'trian' is unknown; did you mean 'train'?"),
        ("path,label,weight\n1.png,cat,0\n", "row 2: weight '0' is not a number above 0 and at most 1"),
        ("path,label,weight\n1.png,cat,high\n", "row 2: weight 'high' is not a number above 0 and at most 1"),
        ("path,label,weight\n1.png,cat,nan\n", "row 2: weight 'nan' is not a number above 0 and at most 1"),
        ("", "is empty; it needs a header with the columns path and label"),
        ("path,label\n", "has no rows below its header"),
        ('path,label\n"1.png,cat\n', "is no table: unexpected end of data"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        fetch(table(tmp_path, text), "labels.csv")
    assert str(caught.value).startswith(f"data.table: {tmp_path}/labels.csv") and "\n" not in str(caught.value)


def test_a_table_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv is not there; name a table below data\.path"):
        fetch(tmp_path, "none.csv")
    with pytest.raises(InputError, match=r"is not UTF-8 \(byte 11\); save it as CSV UTF-8"):
        fetch(table(tmp_path, "path,label\né.png,cat\n", "latin-1"), "labels.csv")
    with pytest.raises(InputError, match=r"data\.group: .* has a column 'group' already; keep one of the two"):
        fetch_source(data("csv", path=str(table(tmp_path / "own", FULL)), table="labels.csv", group="(?P<group>a)"), tmp_path / "raw")
