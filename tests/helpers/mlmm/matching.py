"""An MLMM made by hand that attends from the name of a class, in any language, to the regions of this class."""

import torch
from helpers.mlmm.tiny import tiny_config
from wenlan.analysis.region_attention.scenes import AttentionScene, build_scene, draw_scenes
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.data.rows.types import SceneRow
from wenlan.modeling_mlmm import MLMMModel
from wenlan.processing import MLMMProcessor

WIDTH = 128  # one feature for each class


def matching_config(**overrides):
    """Returns the configuration of a single layer with a single head."""
    sizes = {"hidden_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    sizes |= {"vocab_size": 8000, "max_position_embeddings": 64, "region_feature_dim": WIDTH}
    return tiny_config(**sizes, normalize_region_features=False, **overrides)


@torch.no_grad()
def matching_model(processor: MLMMProcessor) -> MLMMModel:
    """Returns it: a word piece and a region have the same direction where the piece is in the name of the class."""
    model = MLMMModel(matching_config()).eval()
    for name, tensor in model.named_parameters():
        if "norm" not in name.lower():
            tensor.zero_()
    pieces = torch.zeros(8000, WIDTH)
    for names in CLASS_NAMES.values():
        for number, ids in enumerate(processor.tokenizer(list(names), add_special_tokens=False)["input_ids"]):
            pieces[ids, number] += 1
    model.text_embeddings.word_embeddings.weight[:, :WIDTH] = pieces / pieces.sum(dim=1, keepdim=True).clamp(min=1)
    model.region_embeddings.feature_projection.weight[:WIDTH] = torch.eye(WIDTH)
    attention = model.encoder.layer[0].attention.self
    for linear in (attention.query, attention.key):
        linear.weight.copy_(0.7 * torch.eye(2 * WIDTH))
    return model


def class_features(scene: SceneRow) -> dict[str, object]:
    """Returns regions of a drawn scene: the known boxes, each with the one-hot vector of its class."""
    things = scene["objects"]
    boxes = torch.tensor([thing["bbox"] for thing in things])
    features = torch.eye(WIDTH)[[thing["category_id"] for thing in things]]
    return {"image_height": 192, "image_width": 192, "boxes": boxes, "features": features}


def scenes_with_class_features(count: int, **options) -> list[AttentionScene]:
    """Returns drawn scenes with these regions."""
    return [build_scene(scene, class_features(scene)) for scene in draw_scenes(count, **options)]


__all__ = ["class_features", "matching_config", "matching_model", "scenes_with_class_features"]
