"""Files are whole or absent; equal values give equal bytes."""

import hashlib
from pathlib import Path

import pytest

from thaw.errors import InputError, exit_with_one_line, nearest
from thaw.files import read_json, sha256_of_file, sha256_of_value, whole, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"b": 1})
    with pytest.raises(RuntimeError), whole(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1.5, "y": ["é"]})
    write_json(tmp_path / "b", {"y": ["é"], "x": 1.5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sha256_of_value({"x": 1, "y": 2}) == sha256_of_value({"y": 2, "x": 1}) != sha256_of_value({"x": 2, "y": 1})


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_an_input_error_is_one_line_and_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise InputError("params.yaml: x: is wrong; mend it")

    with pytest.raises(SystemExit) as caught:
        exit_with_one_line(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "thaw: params.yaml: x: is wrong; mend it\n"


def test_a_missing_file_and_wrong_arguments_are_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def main(backbone: str, fold: str) -> None:
        Path("data/nowhere.csv").read_text()

    for arguments, said in ((("a", "0"), "missing: data/nowhere.csv; `dvc repro` makes"), (("a",), "takes BACKBONE FOLD, got a")):
        with pytest.raises(SystemExit):
            exit_with_one_line(main, *arguments)
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1


def test_other_errors_are_not_hidden() -> None:
    def main() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        exit_with_one_line(main)


def test_nearest() -> None:
    assert nearest("lpft", ["full", "lp_ft"]) == "did you mean 'lp_ft'?"
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"
