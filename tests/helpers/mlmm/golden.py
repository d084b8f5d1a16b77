"""Reads the golden files (tests/fixtures/mlmm, computed by UC2 and UNITER) into our configuration, names and layout."""

import json

import torch
from helpers.paths import FIXTURES
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from wenlan.modeling_mlmm import MLMMConfig, config_of_original

GOLDEN = FIXTURES / "mlmm"
CASES = ("uc2_tiny", "uniter_tiny", "uc2_full_feature_dims")


class Golden:
    """One folder of golden files."""

    def __init__(self, case: str) -> None:
        folder = GOLDEN / case
        self.meta = json.loads((folder / "meta.json").read_text("utf-8"))
        self.inputs = load_file(folder / "inputs.safetensors")
        self.outputs = load_file(folder / "outputs.safetensors")
        self.tensors = load_file(folder / "state_dict.safetensors")

    def checkpoint(self, *parts: str) -> dict[str, Tensor]:
        """Returns an original state dict: the parts "pretrain", "vqa" and "retrieval" on top of each other."""
        split = [(key.split("/", 1), tensor) for key, tensor in self.tensors.items()]
        return {key: tensor for part in parts for (name, key), tensor in split if name == part}

    def config(self, **overrides) -> MLMMConfig:
        """Returns our configuration for these weights, without dropout."""
        fixed = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        heads = self.meta["config"]["num_attention_heads"]
        weights = self.checkpoint("pretrain", "vqa")
        return config_of_original(weights, **{"num_attention_heads": heads, **fixed, **overrides})

    def example(self, index: int, name: str) -> Tensor:
        return self.inputs[f"example{index}/{name}"]

    def pairs(self, task: str) -> list[tuple[int, int]]:
        """Returns the (text, image) of each row."""
        batch = len(self.inputs["plain/input_ids"])
        if task != "rank":
            return [(i, i) for i in range(batch)]
        return [pair for i in range(batch) for pair in ((i, i), (i, (i + 1) % batch), ((i + 2) % batch, i))]

    def batch(self, task: str) -> dict[str, Tensor]:
        """Returns the inputs of `MLMMModel`: padded texts and padded images with their masks."""
        ids = self.inputs[f"{task}/input_ids"]
        pairs = self.pairs(task)
        lengths = torch.tensor([len(self.example(text, "input_ids")) for text, _ in pairs])
        counts = torch.tensor([len(self.example(image, "features")) for _, image in pairs])
        features, boxes = (
            pad_sequence([self.example(image, name) for _, image in pairs], batch_first=True)
            for name in ("features", "boxes")
        )
        batch = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
            "region_features": features,
            "region_boxes": boxes,
            "region_attention_mask": (torch.arange(features.shape[1]) < counts[:, None]).long(),
        }
        if task in ("mrfr", "mrckl"):
            batch["masked_regions"] = self.inputs[f"{task}/img_masks"]
        return batch


def real_places(batch: dict[str, Tensor]) -> Tensor:
    """Returns (b, l + n) bool over our layout. Row by row its places are those of the reference's compact layout."""
    return torch.cat([batch["attention_mask"], batch["region_attention_mask"]], dim=1).bool()
