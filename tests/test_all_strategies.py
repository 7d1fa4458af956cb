"""params.all.yaml: every strategy of params.yaml, and nothing else changed than its first lines say."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from thaw.params import parse_params

ROOT = Path(__file__).parents[1]
CHANGED = {
    ("split", "folds"): [0, 1],
    ("features", "backbones"): ["lite0"],
    ("backbones", "lite0", "image_size"): 48,
}


def read(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text())


def test_it_is_params_yaml_with_every_strategy_small() -> None:
    ours, wide = read("params.yaml"), read("params.all.yaml")
    assert set(wide["finetune"]["strategies"]) == set(ours["strategies"])
    ours["finetune"]["strategies"] = wide["finetune"]["strategies"]
    ours["report"]["title"] = wide["report"]["title"]
    for (*path, last), value in CHANGED.items():
        block = ours
        for key in path:
            block = block[key]
        block[last] = value
    assert wide == ours
    assert len(parse_params(wide, "params.all.yaml").finetune.strategies) == 17


def test_the_strategies_that_thaw_promises_are_there() -> None:
    promised = (
        "full grouped layerwise lp_ft gradual plateau last_block first_block norm_only bias_only scratch l2sp wise_ft "
        "fastai_fine_tune bit_hyperrule ulmfit"
    )
    assert set(promised.split()) <= set(read("params.yaml")["strategies"])
