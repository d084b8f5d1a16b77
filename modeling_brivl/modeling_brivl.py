"""BriVL: a vision tower and a text tower that embed images and sentences into one space.

Words: *features* are the projected vectors as a tower returns them (`pooler_output`), *embeddings* the same after L2
normalisation (`image_embeds`, `text_embeds`). Shapes: b batch, n regions, l tokens, c or e width, d embedding size.
"""

from dataclasses import dataclass
from typing import Unpack

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .configuration_brivl import BriVLConfig
from .contrastive_loss import in_batch_info_nce, similarity_logits
from .late_interaction import LateInteractionHeads, late_interaction_scores, project_tokens, token_mask
from .towers import BriVLPreTrainedModel, BriVLTextModel, BriVLVisionModel


class TowersOutput(ModelOutput):
    """An output that holds those of the towers; as a tuple it holds theirs as tuples, as CLIP's does."""

    def to_tuple(self) -> tuple:
        """Return all that is not None."""
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


@dataclass
class BriVLOutput(TowersOutput):
    """Output of `BriVLModel`; what was not asked for is None.

    Attributes:
        loss: (), symmetric InfoNCE within the batch, both directions summed; with `return_loss=True`. With
            `late_interaction`, that of the token-wise scores is added, times `late_weight`.
        logits_per_image: (images, texts), cosine similarity over temperature.
        logits_per_text: (texts, images).
        text_embeds: (texts, d), unit rows.
        image_embeds: (images, d), unit rows.
        text_model_output, vision_model_output: outputs of the towers.
        image_tokens, text_tokens: (images, n, c) and (texts, l, c) unit rows, with `late_interaction`; n regions.
        image_token_mask, text_token_mask: (images, n) and (texts, l) bool, True = real token.
        late_scores: (images, texts), of `late_interaction_scores`.
    """

    loss: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    text_embeds: Tensor | None = None
    image_embeds: Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    image_tokens: Tensor | None = None
    image_token_mask: Tensor | None = None
    text_tokens: Tensor | None = None
    text_token_mask: Tensor | None = None
    late_scores: Tensor | None = None


class BriVLModel(BriVLPreTrainedModel):
    """Both towers, their similarity and the loss within a batch.

    Example:

    ```python
    >>> import torch
    >>> from wenlan import BriVLConfig, BriVLModel
    >>> overrides = {
    ...     "vision_config": {"backbone": "tf_efficientnet_lite0", "image_size": 64, "projection_dim": 16},
    ...     "text_config": {
    ...         "encoder_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4},
    ...         "projection_dim": 16,
    ...     },
    ... }
    >>> model = BriVLModel(BriVLConfig.from_variant("nmi", overrides)).eval()
    >>> output = model(input_ids=torch.tensor([[2, 7, 3]]), pixel_values=torch.zeros(2, 3, 64, 64))
    >>> output.logits_per_image.shape
    torch.Size([2, 1])

    ```
    """

    config: BriVLConfig
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]

    def __init__(self, config: BriVLConfig) -> None:
        super().__init__(config)
        self.text_model = BriVLTextModel(config.text_config)
        self.vision_model = BriVLVisionModel(config.vision_config)
        self.late_heads = LateInteractionHeads(config) if config.late_interaction else None
        self.post_init()
        self.freeze()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings of the text encoder."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the text encoder."""
        self.text_model.set_input_embeddings(value)

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the text tower's output; `pooler_output` (b, d) is not normalised. See `BriVLTextModel`.

        A whole batch may be given; its images are left aside.
        """
        texts = {"input_ids": input_ids, "attention_mask": attention_mask, "inputs_embeds": inputs_embeds}
        return self.text_model(**texts, return_dict=True, **kwargs)

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        boxes: Tensor | None = None,
        box_mask: Tensor | None = None,
        feature_map: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the image tower's output; `pooler_output` (b, d) is not normalised. See `BriVLVisionModel`.

        A whole batch may be given; its texts are left aside.
        """
        images = {"pixel_values": pixel_values, "boxes": boxes, "box_mask": box_mask, "feature_map": feature_map}
        return self.vision_model(**images, return_dict=True, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        boxes: Tensor | None = None,
        box_mask: Tensor | None = None,
        feature_map: Tensor | None = None,
        group_ids: Tensor | None = None,
        return_loss: bool | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BriVLOutput:
        """Embed texts, images or both; with both, return the similarity of all with all.

        The towers are independent: give only texts or only images to embed them.

        Args:
            group_ids: (b,) int64, with `return_loss`: pairs of the same group, such as pairs with the same caption, are
                not each other's negatives; -1 = unknown. Other arguments as in the towers.
            return_loss: True also computes the loss of the batch.

        Raises:
            TypeError: for keywords that are no input of BriVL and no keyword of transformers.
            ValueError: for neither texts nor images, or `return_loss` without pairs.
        """
        loss = logits_per_image = logits_per_text = text_embeds = image_embeds = text_output = vision_output = None
        late: dict[str, Tensor] = {}
        if input_ids is not None or inputs_embeds is not None:
            texts = (input_ids, attention_mask, token_type_ids, inputs_embeds)
            text_output = self.get_text_features(*texts, return_dict=True, **kwargs)
            text_embeds = F.normalize(text_output.pooler_output, dim=-1)
            if self.late_heads is not None:
                length = next(given.shape[1] for given in (inputs_embeds, input_ids) if given is not None)
                late["text_tokens"] = tokens = project_tokens(self.late_heads.text, text_output.last_hidden_state)
                late["text_token_mask"] = token_mask(tokens, attention_mask, length)
        if pixel_values is not None or feature_map is not None:
            images = (pixel_values, boxes, box_mask, feature_map)
            vision_output = self.get_image_features(*images, return_dict=True, **kwargs)
            image_embeds = F.normalize(vision_output.pooler_output, dim=-1)
            if self.late_heads is not None:
                late["image_tokens"] = tokens = project_tokens(self.late_heads.image, vision_output.last_hidden_state)
                late["image_token_mask"] = token_mask(tokens, box_mask, tokens.shape[1])
        if text_embeds is None and image_embeds is None:
            raise ValueError("Give input_ids, pixel_values or both.")
        if text_embeds is not None and image_embeds is not None:
            logits_per_image = similarity_logits(image_embeds, text_embeds, temperature=self.config.temperature)
            logits_per_text = logits_per_image.T
            if late:
                names = ("image_tokens", "image_token_mask", "text_tokens", "text_token_mask")
                late["late_scores"] = late_interaction_scores(*map(late.__getitem__, names))
        if return_loss:
            if logits_per_image is None or logits_per_text is None or len(logits_per_image) != len(logits_per_text):
                raise ValueError("return_loss needs as many texts as images: pair i is text i and image i.")
            loss = in_batch_info_nce(logits_per_image, group_ids)
            if late:
                late_logits = late["late_scores"] / self.config.late_temperature
                loss = loss + self.config.late_weight * in_batch_info_nce(late_logits, group_ids)
        return BriVLOutput(
            loss, logits_per_image, logits_per_text, text_embeds, image_embeds, text_output, vision_output, **late
        )


__all__ = ["BriVLModel", "BriVLOutput", "TowersOutput"]
