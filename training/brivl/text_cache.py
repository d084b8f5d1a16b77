"""The states that the frozen layers of a text encoder make of texts, computed once and taken in every epoch."""

import random
from collections.abc import Sequence
from itertools import islice

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ...data.pairs.dataset import TrainingPairs, as_list
from ...data.rows.types import PairExample
from ...modeling_brivl.frozen_trunk import backbone_stages
from ...modeling_brivl.towers import BriVLTextModel
from ...processing.processing_brivl import BriVLProcessor
from .class_evidence import ClassEvidence
from .feature_cache import CachedFeatureMaps

TOKENS = 1024  # of a batch
SAMPLE, BATCH = 2000, 64  # texts


class TextStates:
    """States of texts in float16, by text: (l, e) of the l tokens of each, special ones included.

    Args:
        texts: repeats cost nothing.
        tower: its trunk makes the states; frozen encoders only.
        processor: of the tower.

    Raises:
        ValueError: no layer of the tower's encoder is frozen, or it attends to padding, so that a text alone has other
            states than in a batch.
    """

    def __init__(self, texts: Sequence[str], tower: BriVLTextModel, processor: BriVLProcessor) -> None:
        if tower.trunk_depth == 0 or tower.config.attend_padding:
            raise ValueError(
                "Texts can only be cached for an encoder with frozen layers that does not attend to padding: give a "
                "trainable_backbone, and attend_padding false, in model_config.text_config."
            )
        unique = list(dict.fromkeys(texts))
        ids, mask = processor(text=unique, return_tensors="pt").values()
        lengths = mask.sum(dim=1)
        ends = lengths.cumsum(0)
        self.places = dict(zip(unique, zip((ends - lengths).tolist(), ends.tolist(), strict=True), strict=True))
        self.states = torch.empty(int(ends[-1]), tower.backbone.config.hidden_size, dtype=torch.float16)
        was_training = tower.training
        tower.eval()
        with tqdm(total=len(unique), desc="states of texts") as bar, torch.inference_mode():
            for length in lengths.unique().tolist():  # texts of one length need no padding
                same = iter((lengths == length).nonzero().flatten().tolist())
                while rows := list(islice(same, max(1, TOKENS // length))):
                    states = tower.run_trunk(ids[rows, :length].to(tower.device))
                    assert states is not None  # since there is a trunk
                    places = ends[rows, None] - torch.arange(length, 0, -1)
                    self.states[places] = states.half().cpu()
                    bar.update(len(rows))
        tower.train(was_training)

    def __getitem__(self, text: str) -> torch.Tensor:
        """Return the states (l, e) of a text.

        Raises:
            KeyError: it was not among the texts.
        """
        start, end = self.places[text]
        return self.states[start:end]


@torch.inference_mode()
def standardize_states(tower: BriVLTextModel, processor: BriVLProcessor, texts: Sequence[str]) -> None:
    """Rescale the encoder's last layer norm: its states of a sample of texts get mean 0 and deviation 1 a dimension.

    The states of encoders of sentences point nearly all in one direction, which hides from a small head what differs.

    Raises:
        ValueError: the encoder is none of BERT's kind, whose last layer ends with a layer norm.
    """
    stages = list(backbone_stages(tower.backbone).values())
    if not stages:
        raise ValueError(
            f"standardize_text_states: {tower.backbone.config.model_type} does not end with a layer norm; leave it out."
        )
    norm = stages[-1].get_submodule("output.LayerNorm")
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    batch = processor(text=random.Random(0).sample(texts, min(SAMPLE, len(texts))), return_tensors="pt")
    was_training = tower.training
    tower.eval()
    rows = zip(batch["input_ids"].split(BATCH), batch["attention_mask"].split(BATCH), strict=True)
    states = torch.cat([tower.backbone(ids, mask).last_hidden_state[mask.bool()] for ids, mask in rows])
    tower.train(was_training)
    deviation, mean = torch.std_mean(states, dim=0)
    weight.copy_(weight / deviation)
    bias.copy_((bias - mean) / deviation)


class CachedTextStates(Dataset):
    """Pairs with `text_states` for their texts.

    Args:
        pairs: rows with `text`, and `set_epoch(epoch)`.
        states: of all texts that can be drawn.
    """

    def __init__(self, pairs: TrainingPairs | CachedFeatureMaps | ClassEvidence, states: TextStates) -> None:
        self.pairs, self.states = pairs, states

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair as drawn in the current epoch, with `text_states`, an (l, e) float16 for each text."""
        pair = self.pairs[index]
        pair["text_states"] = [self.states[text] for text in as_list(pair["text"])]
        return pair

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self.pairs.set_epoch(epoch)

    def free(self) -> None:
        """Give back the memory of the states, and of cached feature maps."""
        self.states.states = torch.empty(0)
        if isinstance(self.pairs, CachedFeatureMaps | ClassEvidence):
            self.pairs.free()


__all__ = ["CachedTextStates", "TextStates", "standardize_states"]
