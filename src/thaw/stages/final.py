"""final: the strategy that params name, or the best on validation, refitted on all data -> models/final, with a card and an ONNX graph."""

import shutil
from dataclasses import replace
from pathlib import Path

from thaw.startup import run_stage, uncollected

FOLDER, REPORTS = Path("models/final"), Path("reports")


def main() -> None:
    with uncollected():
        import numpy as np
        import pandas as pd

        from thaw.allocator import keep_freed_memory
        from thaw.deployed import CARD, MODEL, ONNX, WEIGHTS, Model, write_about
        from thaw.export import IMAGES, TOLERANCE, check_parity, export
        from thaw.files import read_json, sha256_of_file, write_text
        from thaw.final_model import choose, describe, fit, plan_of, standing, write_fit
        from thaw.model_card import Evidence, Refit, card
        from thaw.params import NONE, read_params

    params = read_params()
    keep_freed_memory()
    if params.final.strategy == NONE:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)  # DVC wants the folder, empty or not
        print("final: no model, as params.yaml says (final.strategy: none)")
        return
    choice = choose(params)
    print(f"final: {choice.backbone}/{choice.strategy}: {choice.reason}", flush=True)
    plan = plan_of(params, choice)
    refitted = standing(plan, FOLDER)
    if refitted is None:
        shutil.rmtree(FOLDER, ignore_errors=True)
        refitted = fit(plan)
        write_fit(refitted, FOLDER)
    (FOLDER / MODEL).unlink(missing_ok=True)  # written last: where it is, the folder is whole
    about = describe(plan, refitted)
    model = Model(refitted.network, about)
    graph = export(model, FOLDER / ONNX)
    asked = plan.val[np.linspace(0, len(plan.val) - 1, min(IMAGES, len(plan.val))).astype(int)]
    apart = check_parity(model, FOLDER / ONNX, plan.images[asked])
    grouped = params.split.method != "stratified"
    refit = Refit(choice.reason, len(plan.index), len(plan.val), grouped, len(asked), TOLERANCE)
    leaderboard, contrasts = (pd.read_csv(REPORTS / name) for name in ("leaderboard.csv", "contrasts.csv"))
    evidence = Evidence(leaderboard, contrasts, read_json(REPORTS / "leakage.json"), params.evaluate.primary, params.evaluate.confidence)
    write_text(FOLDER / CARD, card(about, refitted.record, plan.dataset, refit, evidence))
    graph |= {"parity": {"images": len(asked), "tolerance": TOLERANCE}}
    hashes = {name: sha256_of_file(FOLDER / name) for name in (WEIGHTS, ONNX)}
    write_about(replace(about, files=hashes, onnx=graph), FOLDER)
    print(f"final: {FOLDER}: {len(plan.train):,} images trained on, {len(plan.val):,} validated on; ONNX within {apart:.1g} of PyTorch")


if __name__ == "__main__":
    run_stage(main)
