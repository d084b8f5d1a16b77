from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from transformers import TrainerControl, TrainerState, TrainingArguments
from wenlan.training.callbacks.set_epoch import SetEpochCallback


class Dataset:
    epoch = None

    def __len__(self):
        return 3

    def set_epoch(self, epoch):
        self.epoch = epoch


def begin_epoch(dataset, epoch):
    state, loader = TrainerState(epoch=epoch), SimpleNamespace(dataset=dataset)
    SetEpochCallback().on_epoch_begin(TrainingArguments("unused"), state, TrainerControl(), train_dataloader=loader)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0), (2.37, 2), (3.0, 3)])
def test_epoch_at_hand_is_set(epoch, expected):
    dataset = Dataset()
    begin_epoch(dataset, epoch)
    assert dataset.epoch == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda dataset: Subset(dataset, [0]),
        lambda dataset: ConcatDataset([TensorDataset(torch.zeros(2)), dataset]),
        lambda dataset: Subset(ConcatDataset([Subset(dataset, [1])]), [0]),
    ],
    ids=["subset", "concatenation", "several"],
)
def test_wrapped_dataset_is_reached(wrap):
    dataset = Dataset()
    begin_epoch(wrap(dataset), 2.5)
    assert dataset.epoch == 2


def test_dataset_without_epochs_is_left_alone():
    dataset = TensorDataset(torch.zeros(2))
    before = dict(vars(dataset))
    begin_epoch(DataLoader(dataset), 1.0)
    assert vars(dataset) == before
