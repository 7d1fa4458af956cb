"""params.yaml is strict: one line that says where, what and the nearest valid name."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from thaw.errors import InputError
from thaw.params import Block, Params, parse_params, read_params

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())


def edited(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value set (or, for None, removed)."""
    changed = copy.deepcopy(tree)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    block: Any = changed
    for part in parents:
        block = block[part]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return changed


def test_the_projects_own_params_are_valid(tree: dict[str, Any]) -> None:
    params = parse_params(tree, "params.yaml")
    assert set(params.finetune.strategies) >= {"full", "grouped", "layerwise", "lp_ft", "gradual", "scratch"}
    assert len(params.split.folds) >= 3
    assert params.strategies["grouped"].phases[0].rates == {"head": 1e-3, "backbone": 1e-5}
    assert params.strategies["grouped"].phases[0].weight_decay == 0.01


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("split/fold", [0, 1], "split.fold: unknown key; did you mean 'folds'?"),
        ("repotr", {}, "repotr: unknown key; did you mean 'report'?"),
        ("strategies/full/phases/0/rate", 1.0, "strategies.full.phases[0].rate: unknown key; did you mean 'rates'?"),
        ("strategies/full/start", "pretraned", "strategies.full.start: unknown value 'pretraned'; did you mean 'pretrained'?"),
        ("finetune/strategies", ["lpft"], "finetune.strategies: unknown name 'lpft'; did you mean 'lp_ft'?"),
        ("features/backbones", ["lit0"], "features.backbones: unknown name 'lit0'; did you mean 'lite0'?"),
        ("evaluate/reference", "linear_prob", "evaluate.reference: unknown name 'linear_prob'; did you mean 'linear_probe'?"),
        ("data/source", "elvp", "data.source: unknown value 'elvp'; did you mean 'elpv'?"),
        ("data/source", "foldr", "data.source: unknown value 'foldr'; did you mean 'folder'?"),
        ("data/source", "csv", "data.table: source csv needs the table's name below data.path, such as labels.csv"),
        ("data/source", "torchvision", "data.name: source torchvision needs the name of a data set, such as CIFAR10"),
        ("data/group", "(p", "data.group: '(p' is not a regular expression: missing )"),
        ("data/group", "p[0-9]+", "data.group: 'p[0-9]+' names no group; mark it so"),
        ("data/path", "data/raw/mine", "data.path: must be a folder of your own, such as data/own: none that the pipeline makes"),
        ("data/path", "data/own/../raw", "data.path: must be a folder of your own"),
        ("data/path", ".", "data.path: must be a folder of your own"),
        ("data/path", "", "data.path: String should have at least 1 character"),
        ("data/table", None, "data.table: is missing; add it, there are no hidden defaults"),
        ("split/method", "given", "split.folds: must be [0] where split.method is given: the data come with one split"),
        ("split/folds", [0], "split.folds: must count from 0 to K-1 with 2 <= K <= 20"),
        ("finetune/batch_size", "32", "finetune.batch_size: Input should be a valid integer (got '32')"),
        ("finetune/batch_size", 32.5, "finetune.batch_size: Input should be a valid integer"),
        ("finetune/strategies", ["full", "full"], "finetune.strategies: a name stands twice"),
        ("split/folds", [0, 2], "split.folds: must count from 0 to K-1"),
        ("learning/heads", ["linear"], "learning.heads: unknown name 'linear'; did you mean 'linear_probe'?"),
        ("learning/percents", [5, 100], "learning.percents[1]: Input should be less than or equal to 99"),
        ("learning/finetune", ["plateau"], "learning.finetune: unknown name 'plateau'"),
        ("backbones/lite0_half/mismatch", "sizes", "backbones.lite0_half.mismatch: unknown value 'sizes'; did you mean 'size'?"),
        ("split/validation", 0.9, "split.validation: Input should be less than or equal to 0.5"),
        ("strategies/full/phases/0/rates", {"*": float("nan")}, "strategies.full.phases[0].rates.*"),
        ("strategies/ridge", {"start": "random", "norm": "eval", "phases": []}, "strategies.ridge"),
        ("heads", None, "heads: is missing"),
        ("finetune/augment", ["hflip", "hflip"], "finetune.augment: names a transform twice"),
        ("finetune/augment", ["hfilp"], "finetune.augment[0]: unknown value 'hfilp'; did you mean 'hflip'?"),
        ("strategies/full/phases/0/steps", 5, "strategies.full.phases[0]: needs a length: either epochs or steps"),
        ("strategies/full/phases/0/epochs", None, "strategies.full.phases[0]: needs a length: either epochs or steps"),
        ("strategies/full/phases/0/schedule", "bit", "strategies.full.phases[0]: `steps: bit` and `schedule: bit` go together"),
        ("strategies/full/phases/0/div", 5.0, "strategies.full.phases[0]: div is a dial of one_cycle"),
        ("strategies/full/phases/0/stop", {"patience": 1, "flor": 0.1}, "strategies.full.phases[0].stop.flor: unknown key; did you mean"),
        ("strategies/full/phases/0/optimiser", {"name": "adamw", "momentum": 0.9}, "strategies.full.phases[0].optimiser: adamw needs"),
        ("strategies/full/norm", "train_eval", "strategies.full.norm: unknown value 'train_eval'; did you mean"),
        ("strategies/full/interpolate", [0.5], "strategies.full: interpolate needs start: linear_probe"),
        ("tune/rate", [10.0, 0.1], "tune.rate: must be [smallest, largest] factor"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tree: dict[str, Any], path: str, value: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_params(edited(tree, path, value), "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {said}")
    assert "\n" not in str(caught.value)


def test_a_name_used_by_a_head_cannot_be_a_strategy(tree: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"strategies\.knn: the name belongs to a head"):
        parse_params(edited(tree, "strategies/knn", tree["strategies"]["full"]), "params.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("a: 1\na: 2\n", "duplicate key"), ("a: [1\n", "while parsing"), ("- 1\n", "not a mapping")],
)
def test_a_file_that_is_not_params(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run inside the project"):
        read_params(tmp_path / "params.yaml")


def test_rates_without_a_point_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-5 as text; DVC reads YAML 1.2, and so must we, or a rate means two things."""
    text = (ROOT / "params.yaml").read_text().replace("backbone: 1.0e-5", "backbone: 1e-5")
    assert "backbone: 1e-5" in text
    (tmp_path / "params.yaml").write_text(text)
    assert read_params(tmp_path / "params.yaml").strategies["grouped"].phases[0].rates["backbone"] == 1e-5


def test_no_dial_has_a_default_but_off_and_none_can_change() -> None:
    """DVC does not follow params.py: what it hands out must be decided by params.yaml alone."""
    blocks = [Params, *(block for block in _all_blocks(Block) if block is not Params)]
    assert len(blocks) > 10
    for block in blocks:
        assert block.model_config["frozen"] and block.model_config["extra"] == "forbid" and block.model_config["strict"]
        assert all(field.is_required() or field.default is None for field in block.model_fields.values()), block


def _all_blocks(block: type[BaseModel]) -> list[type[BaseModel]]:
    return [found for child in block.__subclasses__() for found in (child, *_all_blocks(child))]


def test_runs_name_every_result_once(tree: dict[str, Any]) -> None:
    runs = parse_params(tree, "params.yaml").runs()
    assert len(set(runs)) == len(runs)
    assert ("lite0", "linear_probe", 0) in runs and ("lite0", "lp_ft", 2) in runs
    assert ("lite0_native", "lp_ft", 0) not in runs


def test_a_mistake_on_purpose_is_for_features_alone(tree: dict[str, Any]) -> None:
    listed = edited(tree, "features/backbones", ["lite0", "lite0_half"])
    parse_params(listed, "params.yaml")
    for path, value in (("finetune/backbones", ["lite0_half"]), ("evaluate/reference_backbone", "lite0_half")):
        said = f"{path.replace('/', '.')}: 'lite0_half' has a mismatch, so it is a control"
        with pytest.raises(InputError, match=re.escape(said)):
            parse_params(edited(listed, path, value), "params.yaml")


def test_a_cell_on_a_share_needs_the_probe_of_that_share(tree: dict[str, Any]) -> None:
    wanted = edited(tree, "learning/finetune", ["full", "lp_ft", "scratch"])
    parse_params(wanted, "params.yaml")
    for path, value, said in (
        ("learning/heads", [], "learning: finetune needs linear_probe in learning.heads and images in learning.by"),
        ("learning/by", ["groups"], "learning: finetune needs linear_probe in learning.heads and images in learning.by"),
        ("learning/percents", [5, 10], "learning.finetune_percents: 25 must be in learning.percents too"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            parse_params(edited(wanted, path, value), "params.yaml")
        parse_params(edited(tree, path, value), "params.yaml")  # nothing is trained on a share: nothing is needed


def test_runs_on_shares_are_listed_and_groups_only_where_there_are_any(tree: dict[str, Any]) -> None:
    small = edited(edited(tree, "split/folds", [0, 1]), "features/backbones", ["lite0"])
    small = edited(small, "learning/finetune", ["full", "lp_ft", "scratch"])
    runs = parse_params(small, "params.yaml").learning_runs(grouped=True)
    heads, trained = (1 * 4 * 2 * 2), (3 * 1 * 2)
    assert len(runs) == len(set(runs)) == heads + trained
    assert runs[0] == ("learning/heads", "lite0", "linear_probe", "images-5", 0)
    assert runs[-1] == ("learning/finetune", "lite0", "scratch", "images-25", 1)
    alone = parse_params(small, "params.yaml").learning_runs(grouped=False)
    assert [run for run in runs if not run[3].startswith("groups")] == alone


def test_a_given_split_is_one_fold(tree: dict[str, Any]) -> None:
    params = parse_params(edited(edited(tree, "split/method", "given"), "split/folds", [0]), "params.yaml")
    assert {fold for _, _, fold in params.runs()} == {0}


def test_dials_of_another_source_do_no_harm(tree: dict[str, Any]) -> None:
    for source in ("elpv", "digits", "folder", "csv", "parquet", "torchvision", "fashion_mnist"):
        data = tree["data"] | {"source": source, "table": "labels.csv", "name": "CIFAR10", "group": "(?P<group>p)", "path": "/some/where"}
        assert parse_params(tree | {"data": data}, "params.yaml").data.source == source
