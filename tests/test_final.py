"""The model at the end: chosen on validation, refitted on all data, written with its card and its graph."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import evidence, pretend
from safetensors.torch import load_file, save_file

from thaw.backbones import Network, backbone_of, build_backbone
from thaw.calibration import fit_temperature, tempered
from thaw.deployed import BlocksNetwork, read_model
from thaw.errors import InputError
from thaw.export import TOLERANCE, check_parity, run_onnx
from thaw.final_model import choose, plan_of
from thaw.heads import Part, fit_logistic
from thaw.index import labels_of, read_index
from thaw.metrics import choose_threshold
from thaw.params import read_params
from thaw.randomness import derive_seed
from thaw.runs import Identity, read_record
from thaw.splits import TEST, TRAIN, VAL, read_splits
from thaw.stages import final
from thaw.tour import set_dials

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench/ is no part of the package

from bench.comparison import FINAL

FILES = {"model.safetensors", "model.json", "model.onnx", "record.json", "MODEL_CARD.md"}
FOLDER = Path("models/final")


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Path.cwd()


def test_everything_is_there_and_the_model_reads_back(project: Path) -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES
    model, record = read_model(FOLDER), read_record(FOLDER)
    assert record.record_id == model.about.record_id and record.kind == "head"
    assert model.about.runs == {
        f"lite0/linear_probe/{k}": read_record(Identity("lite0", "linear_probe", k).folder()).record_id for k in (0, 1)
    }
    assert (model.about.stored_side, model.about.channels) == (32, 1)


def test_every_image_is_trained_on_but_whole_groups_that_choose(project: Path) -> None:
    params = read_params()
    plan = plan_of(params, choose(params))
    groups = plan.index["group"].to_numpy()
    assert sorted([*plan.train, *plan.val]) == list(range(len(plan.index)))
    assert not set(groups[plan.train]) & set(groups[plan.val])
    assert 0.1 < len(plan.val) / len(plan.index) < 0.3
    splits = read_splits(Path("data/splits.csv"))
    for fold in (0, 1):
        assert set(splits[f"role_{fold}"][plan.train]) == {TRAIN, VAL, TEST}


def test_the_probe_is_the_one_that_its_rows_give_and_thresholds_are_its_own(project: Path) -> None:
    """Computed another way: the head from the kept features, the logits as a product of matrices."""
    params, model = read_params(), read_model(FOLDER)
    plan = plan_of(params, choose(params))
    X, labels = np.load("data/features/lite0/features.npy"), labels_of(read_index(Path("data/index.csv")), model.about.classes)
    train, val = (Part(X[rows], labels[rows]) for rows in (plan.train, plan.val))
    head = fit_logistic(train, val, params.heads.C, "auc", 2).head
    assert head is not None
    tensors = load_file(FOLDER / "model.safetensors")
    np.testing.assert_array_equal(tensors["head.weight"].numpy(), head.W)
    logits = model.logits(np.load("data/images.npy"))
    np.testing.assert_allclose(logits, X @ head.W.T + head.b, atol=1e-4 * np.abs(logits).max())
    assert model.about.temperature == pytest.approx(fit_temperature(logits[plan.val], labels[plan.val]), rel=1e-3)
    positive = tempered(logits[plan.val], model.about.temperature)[:, 1]
    assert model.about.threshold == pytest.approx(choose_threshold(positive, labels[plan.val], "balanced_accuracy"), abs=1e-3)


def test_the_card_says_what_is_known(project: Path) -> None:
    text = (FOLDER / "MODEL_CARD.md").read_text()
    for said in (
        "0.900 | 0.800 to 0.950",
        "no difference seen for linear_probe",
        "**caution**",
        "Three pairs leak.",
        "Licence of these images: none needed.",
        "apache-2.0",
        "whole groups (module)",
        "`lite0/linear_probe/1`",
    ):
        assert said in text, said
    assert str(project) not in text


def test_where_only_the_evidence_changed_the_tensors_stay(project: Path) -> None:
    files = {name: (FOLDER / name).read_bytes() for name in FILES}
    inode = (FOLDER / "model.safetensors").stat().st_ino
    evidence(["linear_probe"], 0.87)
    final.main()
    assert (FOLDER / "model.safetensors").stat().st_ino == inode
    assert "0.870" in (FOLDER / "MODEL_CARD.md").read_text()
    assert {name for name in FILES if (FOLDER / name).read_bytes() != files[name]} == {"MODEL_CARD.md"}  # the graph too has equal bytes


def test_a_folder_of_which_a_part_was_lost_is_fitted_again_to_the_same_bytes(project: Path) -> None:
    files = {name: (FOLDER / name).read_bytes() for name in FILES}
    (FOLDER / "model.safetensors").write_bytes(b"half")
    final.main()
    assert {name: (FOLDER / name).read_bytes() for name in FILES} == files


def test_a_trained_strategy_starts_from_the_probe_on_the_same_rows(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At such rates nothing moves, so the network is its start: the very head of the probe's model, on the encoder as it was."""
    probe = load_file(FOLDER / "model.safetensors")
    set_dials(Path("params.yaml"), {"final.strategy": "lp_ft", "strategies.lp_ft.phases.0.rates": {"*": 1.0e-30}})
    final.main()
    record, tensors = read_record(FOLDER), load_file(FOLDER / "model.safetensors")
    assert (record.strategy, record.kind, len(record.history)) == ("lp_ft", "finetune", 1)
    (seconds,) = (float(said.group(1)) for line in capsys.readouterr().out.splitlines() if (said := FINAL.match(line)))
    assert seconds > 0  # which the benchmark of a whole comparison reads
    assert tensors.keys() == probe.keys()
    for name in ("head.weight", "head.bias", "backbone.conv_stem.weight"):
        torch.testing.assert_close(tensors[name], probe[name], rtol=0, atol=1e-25)
    assert not list(Path(".thaw/resume").glob("*/*"))


def test_another_precision_is_another_fit_and_the_record_names_what_was_used(project: Path) -> None:
    made = {}
    for precision in ("float32", "bfloat16"):
        set_dials(Path("params.yaml"), {"final.strategy": "lp_ft", "finetune.precision": precision})
        final.main()
        record = read_record(FOLDER)
        assert record.choices["precision"] == precision
        made[precision] = (record.record_id, load_file(FOLDER / "model.safetensors")["head.weight"])
    (one, rounded), (other, exact) = made["bfloat16"], made["float32"]
    assert one != other and not torch.equal(rounded, exact)


def test_a_network_from_random_numbers_is_no_pretrained_one(project: Path) -> None:
    """At such rates it is its start: the random encoder of the seed, whose licence and past the card does not invent."""
    set_dials(Path("params.yaml"), {"final.strategy": "scratch", "strategies.scratch.phases.0.rates": {"*": 1.0e-30}})
    set_dials(Path("params.yaml"), {"finetune.strategies": ["full", "lp_ft", "scratch"]})
    for fold in (0, 1):
        pretend(
            replace(read_record(Identity("lite0", "lp_ft", fold).folder()), strategy="scratch"), best_val_auc=0.5, best_val_log_loss=0.7
        )
    evidence(["scratch"])
    final.main()
    record, tensors, settings = read_record(FOLDER), load_file(FOLDER / "model.safetensors"), read_params().backbones["lite0"]
    start = backbone_of(settings, derive_seed(record.inputs["seed"], "init")).encoder.state_dict()
    pretrained = backbone_of(settings, None).encoder.state_dict()
    torch.testing.assert_close(tensors["backbone.conv_stem.weight"], start["conv_stem.weight"], rtol=0, atol=1e-25)
    assert not torch.allclose(start["conv_stem.weight"], pretrained["conv_stem.weight"])
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert "starts from random numbers, which nobody owns" in card and "apache" not in card and "Pretraining leaves its mark" not in card


def test_weights_between_start_and_end_are_handed_on(project: Path) -> None:
    set_dials(Path("params.yaml"), {"final.strategy": "lp_ft", "strategies.lp_ft.phases.0.epochs": 1})
    file, start = Path("params.yaml"), "  lp_ft:\n"
    file.write_text(file.read_text().replace(start, f"{start}    interpolate: [0.0]\n"))
    probe = load_file(FOLDER / "model.safetensors")
    final.main()
    record, tensors = read_record(FOLDER), load_file(FOLDER / "model.safetensors")
    assert record.metrics["alpha"] == 0 and len(record.choices["interpolation"]) == 1
    for name in probe:  # alpha 0 is the start, whatever was trained
        torch.testing.assert_close(tensors[name], probe[name], rtol=0, atol=0)


def test_a_failure_after_the_fit_does_not_lose_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_dials(Path("params.yaml"), {"final.strategy": "ridge"})
    with monkeypatch.context() as patch:
        patch.setattr("thaw.export.export", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            final.main()
    assert not (FOLDER / "model.json").exists()
    monkeypatch.setattr("thaw.final_model.fit", lambda plan: pytest.fail("fitted again"))
    final.main()
    assert read_model(FOLDER).about.strategy == "ridge"


def test_blocks_that_head2toe_reads_are_handed_on_and_exported(project: Path) -> None:
    set_dials(Path("params.yaml"), {"final.strategy": "head2toe"})
    final.main()
    model, blocks = read_model(FOLDER), np.load("data/features/lite0/blocks.npy")
    assert isinstance(model.network, BlocksNetwork) and 0 < model.about.columns < blocks.shape[1]
    tensors, images = load_file(FOLDER / "model.safetensors"), np.load("data/images.npy")[:40]
    expected = blocks[:40][:, tensors["columns"].numpy()] @ tensors["head.weight"].numpy().T + tensors["head.bias"].numpy()
    np.testing.assert_allclose(model.logits(images), expected, atol=1e-4 * np.abs(expected).max())
    found, _ = run_onnx(FOLDER / "model.onnx", model.view(images).numpy())
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_the_graph_agrees_and_names_nothing_of_this_machine(project: Path) -> None:
    import onnx

    model, images = read_model(FOLDER), np.load("data/images.npy")[:7]
    logits, probabilities = run_onnx(FOLDER / "model.onnx", model.view(images).numpy())
    np.testing.assert_allclose(logits, model.logits(images), atol=TOLERANCE * max(1, np.abs(logits).max()))
    np.testing.assert_allclose(probabilities, model.probabilities(model.logits(images)), atol=1e-3)
    data = (FOLDER / "model.onnx").read_bytes()
    assert b".py" not in data and str(Path(__file__).parents[1]).encode() not in data
    graph = onnx.load_from_string(data).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixels", "logits", "probabilities"]


def test_a_graph_of_another_network_is_refused(project: Path) -> None:
    model, images = read_model(FOLDER), np.load("data/images.npy")[:7]
    with torch.no_grad():
        model.network.head.bias += torch.tensor([0.0, 0.1]) * float(np.abs(model.logits(images)).max())  # type: ignore[union-attr,operator]
    with pytest.raises(InputError, match=r"final: model\.onnx and the network are 0\.\d+ apart on 7 images"):
        check_parity(model, FOLDER / "model.onnx", images)


# ---- which


def test_the_best_on_validation_is_taken_and_what_keeps_images_is_passed_over(project: Path) -> None:
    set_dials(Path("params.yaml"), {"final.strategy": "best", "final.backbone": "best"})

    def chosen(**reached: list[float]) -> tuple[str, str]:
        for strategy in ("linear_probe", "ridge", "nearest_centroid", "knn", "head2toe", "full", "lp_ft"):
            for fold, value in enumerate(reached.get(strategy, [0.6, 0.6])):
                pretend(read_record(Identity("lite0", strategy, fold).folder()), best_val_auc=value, best_val_log_loss=1 - value)
        for control in ("raw_pixels", "metadata"):
            pretend(read_record(Identity("lite0", control, 0).folder()), best_val_auc=1.0)
        choice = choose(read_params())
        return choice.strategy, choice.reason

    assert chosen(full=[0.9, 0.7], lp_ft=[0.95, 0.55])[0] == "full"  # by the mean, not by the best fold
    assert chosen()[0] == "linear_probe"  # equals: the first
    strategy, reason = chosen(knn=[0.9, 0.9], ridge=[0.8, 0.8])
    assert strategy == "ridge" and "lite0/knn did better, but keeps every training image" in reason
    set_dials(Path("params.yaml"), {"selection.metric": "log_loss"})
    assert chosen(lp_ft=[0.7, 0.7])[0] == "lp_ft"


def test_no_model_is_an_empty_folder(project: Path) -> None:
    set_dials(Path("params.yaml"), {"final.strategy": "none"})
    final.main()
    assert list(FOLDER.iterdir()) == []
    with pytest.raises(InputError, match=r"models/final: is empty: params\.yaml says final\.strategy: none"):
        read_model(FOLDER)


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ({"final.strategy": "knn"}, "final.strategy: knn keeps every training image"),
        ({"final.strategy": "raw_pixels"}, "final.strategy: unknown name 'raw_pixels'"),
        ({"final.strategy": "plateau"}, "final.strategy: unknown name 'plateau'"),
        ({"final.backbone": "lite0_half"}, "final.backbone: unknown name 'lite0_half'"),
    ],
)
def test_what_was_not_compared_is_not_handed_on(project: Path, dials: dict[str, str], said: str) -> None:
    set_dials(Path("params.yaml"), dials)
    with pytest.raises(InputError, match=re.escape(said)):
        read_params()


# ---- what cannot be read


def test_a_folder_that_is_no_model_is_one_line(project: Path, tmp_path: Path) -> None:
    about = json.loads((FOLDER / "model.json").read_text())

    def said(change: object) -> str:
        (FOLDER / "model.json").write_text(json.dumps(change) if not isinstance(change, str) else change)
        with pytest.raises(InputError) as caught:
            read_model(FOLDER)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    with pytest.raises(InputError, match=r"has no model\.json, so there is no model; run `dvc repro final`"):
        read_model(tmp_path / "nowhere")
    assert "is of format 2, and this thaw reads format 1" in said(about | {"format": 2})
    assert "is no JSON" in said("{")
    assert "'classes' is missing or unknown" in said({name: value for name, value in about.items() if name != "classes"})
    other = {"model.safetensors": "0" * 64}
    assert "is not the file that model.json beside it names" in said(about | {"files": other})


def test_tensors_stand_under_the_names_of_the_projects_network(project: Path) -> None:
    backbone = build_backbone("lite0", 32)
    network = Network(backbone.encoder, backbone.dim, 2)
    network.load_state_dict(load_file(FOLDER / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, "again.safetensors")
    assert Path("again.safetensors").read_bytes() == (FOLDER / "model.safetensors").read_bytes()
