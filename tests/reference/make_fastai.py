# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""Writes fastai_fine_tune.csv beside itself: what fastai's own fine_tune gives its optimiser at every batch. See README.md."""

import csv
from pathlib import Path

import fastai
import fastai.callback.schedule as schedule
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Callback, Learner
from fastai.vision.learner import default_split
from torch import nn

EPOCHS, BASE_LR, BATCHES, BATCH = 3, 2e-3, 7, 4
HYPERS = ("lr", "mom", "sqr_mom", "eps", "wd")


class Record(Callback):
    order, run_valid = 61, False  # after ParamScheduler, which has 60

    def __init__(self, positions: str):
        self.positions, self.rows, self.phase = positions, [], -1

    def before_fit(self):
        self.phase, self.step = self.phase + 1, 0

    def before_batch(self):
        for index, (group, hypers) in enumerate(zip(self.opt.param_lists, self.opt.hypers, strict=True)):
            training = sum(tensor.requires_grad for tensor in group)
            row = [self.positions, ("frozen", "unfrozen")[self.phase], self.step, self.n_epoch * self.n_iter, ("body", "head")[index]]
            self.rows.append([*row, training, len(group), *(repr(float(hypers[name])) for name in HYPERS)])
        self.step += 1


def record(positions: str) -> list[list]:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    data = torch.utils.data.TensorDataset(torch.randn(BATCHES * BATCH, 3, 8, 8), torch.randint(2, (BATCHES * BATCH,)))
    loaders = DataLoaders(*(torch.utils.data.DataLoader(data, BATCH) for _ in range(2)), device=torch.device("cpu"))
    recorder = Record(positions)
    learn = Learner(loaders, nn.Sequential(body, head), nn.CrossEntropyLoss(), splitter=default_split, cbs=recorder)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(EPOCHS, base_lr=BASE_LR)
    return recorder.rows


rows = record("float32")
schedule.tensor = lambda values: torch.tensor(
    values, dtype=torch.float64
)  # combine_scheds keeps its positions in fastai's float32 `tensor`
rows += record("float64")
with (Path(__file__).parent / "fastai_fine_tune.csv").open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["positions", "phase", "step", "total", "group", "training", "tensors", *HYPERS])
    writer.writerows(rows)
print("fastai", fastai.__version__, "torch", torch.__version__, len(rows), "rows")
