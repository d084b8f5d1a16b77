"""BriVL's pre-training: momentum towers, queues of negatives, symmetric InfoNCE."""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import TransformersKwargs, can_return_tuple, logging
from transformers.utils.loading_report import LoadStateDictInfo

from .base_model import transformers_keywords
from .configuration_brivl import BriVLConfig
from .contrastive_loss import contrast, in_batch_info_nce, is_true, near_pairs, pairs_of_one_group
from .frozen_trunk import drop_trunk
from .late_interaction import late_interaction_scores, project_tokens, token_mask
from .modeling_brivl import BriVLModel, TowersOutput
from .momentum_queue import NO_GROUP, NegativeQueue, gather_rows, gather_text_groups, update_momentum
from .towers import BriVLPreTrainedModel, BriVLTextModel, BriVLVisionModel

logger = logging.get_logger(__name__)

Tower = BriVLTextModel | BriVLVisionModel
TowerInputs = dict[str, Tensor]
Embeddings = tuple[Tensor, Tensor, Tensor, Tensor]  # image queries, text queries, image keys, text keys
Tokens = tuple[Tensor, ...]  # of images and of texts; none without late interaction
TowerOutputs = dict[str, BaseModelOutputWithPooling]


@dataclass
class BriVLForPreTrainingOutput(TowersOutput):
    """Output of `BriVLForPreTraining`.

    Attributes:
        loss: (), image-to-text plus text-to-image InfoNCE. With `late_interaction`, that of the token-wise scores is
            added, times `late_weight`; their negatives are those of the own process and batch.
        logits_per_image: (n, 1 + k) for n texts: of the image of each, the key of that text first, then the text queue;
            (n, 1 + n + k) with `in_batch_negatives`, the keys of the batch between them.
        logits_per_text: (n, 1 + k), or (n, 1 + b + k), the same with the key of the own image and the image queue.
        text_embeds, image_embeds: (n, d) and (b, d) queries, unit rows.
        text_keys, image_keys: (n, d) and (b, d) keys of the momentum towers, unit rows, no gradient.
        text_model_output, vision_model_output: outputs of the query towers; None with `contrastive_chunk_size`.
        image_tokens, image_token_mask, text_tokens, text_token_mask, late_scores: of the queries, as in `BriVLOutput`.
    """

    loss: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    text_embeds: Tensor | None = None
    image_embeds: Tensor | None = None
    text_keys: Tensor | None = None
    image_keys: Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    image_tokens: Tensor | None = None
    image_token_mask: Tensor | None = None
    text_tokens: Tensor | None = None
    text_token_mask: Tensor | None = None
    late_scores: Tensor | None = None


class BriVLForPreTraining(BriVLPreTrainedModel):
    """A `BriVLModel` (`.brivl`), its momentum copy and the queue. Train it with `MomentumQueueCallback`.

    Negatives come from the queue only, so their number does not depend on the batch size. A forward pass changes no
    state but the list of keys that wait for the queue; see `update_momentum` and `pop_keys`. With several processes the
    keys are gathered in the forward pass, so that all queues are equal.

    Source: training forward of BAAI-WuDao/BriVL. Differences: samples are not shuffled between processes for the key
    towers, and any batch size fits any queue.
    """

    config: BriVLConfig
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]
    _keys_to_ignore_on_load_unexpected = None
    # They start from the query towers; BERT's tables of ids are in no checkpoint.
    _keys_to_ignore_on_load_missing = [r"^momentum_(?!.*_ids$)"]
    _new_heads = ("queue.", "brivl.late_heads.")

    def __init__(self, config: BriVLConfig) -> None:
        super().__init__(config)
        self.brivl = BriVLModel(config)
        self.momentum_text_model = BriVLTextModel(config.text_config)
        self.momentum_vision_model = BriVLVisionModel(config.vision_config)
        if config.share_frozen_trunk:
            for momentum_tower, query_tower in self._towers:
                drop_trunk(momentum_tower.backbone, query_tower.trunk_depth)
        self.queue = NegativeQueue(config.queue_size, config.projection_dim)
        # Every process enqueues the same keys, so DDP need not send rank 0's queue before each forward.
        self._ddp_params_and_buffers_to_ignore = [f"queue.{name}" for name, _ in self.queue.named_buffers()]
        self._waiting_keys: list[tuple[Tensor, Tensor, Tensor]] = []
        self._momentum_has_moved = False
        self.post_init()
        self.reset_momentum_towers()
        self.freeze()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, NegativeQueue):
            module.reset()
        else:
            super()._init_weights(module)

    @property
    def _towers(self) -> tuple[tuple[Tower, Tower], tuple[Tower, Tower]]:
        """Return the pairs of momentum tower and query tower."""
        return (self.momentum_text_model, self.brivl.text_model), (self.momentum_vision_model, self.brivl.vision_model)

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings of the query text tower."""
        return self.brivl.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the query text tower."""
        self.brivl.set_input_embeddings(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the token embeddings of both text towers; new rows of the momentum tower are those of the query."""
        resized = super().resize_token_embeddings(*args, **kwargs)
        tower = self.momentum_text_model
        if not (self.config.share_frozen_trunk and tower.trunk_depth):  # else the momentum tower has none of its own
            momentum = copy.deepcopy(resized).requires_grad_(False)
            before = tower.get_input_embeddings().get_parameter("weight")[: len(momentum.weight)]
            momentum.weight[: len(before)] = before
            tower.set_input_embeddings(momentum)
        return resized

    def reset_momentum_towers(self) -> None:
        """Make the momentum towers equal to the query towers: needed after the query towers got new weights."""
        for momentum_tower, query_tower in self._towers:
            query_state = query_tower.state_dict()
            momentum_tower.load_state_dict({name: query_state[name] for name in momentum_tower.state_dict()})

    def freeze(self) -> None:
        """Freeze what the configuration says, and the momentum towers whole: they move by `update_momentum`."""
        super().freeze()
        for momentum_tower, _ in self._towers:
            momentum_tower.requires_grad_(False)

    def _adjust_missing_and_unexpected_keys(self, loading_info: LoadStateDictInfo) -> None:
        """Start momentum towers that the checkpoint lacks from the query towers, before transformers reports."""
        if any(key.startswith("momentum_") for key in loading_info.missing_and_mismatched()):
            self.reset_momentum_towers()
        super()._adjust_missing_and_unexpected_keys(loading_info)

    def update_momentum(self) -> None:
        """Move the momentum towers towards the query towers; once per optimizer step, before its first forward."""
        self._momentum_has_moved = True
        for momentum_tower, query_tower in self._towers:
            update_momentum(momentum_tower, query_tower, self.config.momentum)

    def _keep_for_the_queue(self, pairs: tuple[Tensor, Tensor, Tensor]) -> None:
        if self._waiting_keys and not self._momentum_has_moved:
            logger.warning_once(
                "BriVLForPreTraining trains, but its momentum towers and queue stand still: "
                "pass callbacks=[MomentumQueueCallback()] to the Trainer."
            )
        self._waiting_keys.append(pairs)

    @property
    def has_waiting_keys(self) -> bool:
        """Return True if there was a forward pass in training mode since the last `pop_keys`."""
        return bool(self._waiting_keys)

    def pop_keys(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image keys, text keys and group ids of all training forwards since the last call.

        They are those of all processes, in rank order: the same in every process.

        Raises:
            RuntimeError: without a forward pass in training mode since the last call.
        """
        if not self._waiting_keys:
            raise RuntimeError("No keys wait for the queue: run a forward pass in training mode first.")
        image_keys, text_keys, group_ids = (torch.cat(part) for part in zip(*self._waiting_keys, strict=True))
        self._waiting_keys.clear()
        return image_keys, text_keys, group_ids

    def _embed(
        self, text_inputs: TowerInputs, image_inputs: TowerInputs, **keywords: Any
    ) -> tuple[Embeddings, Tokens, TowerOutputs]:
        """Return queries and keys of a batch, unit rows, the queries' tokens, and their towers' outputs or nothing."""
        vision_model, text_model = self.brivl.vision_model, self.brivl.text_model
        if self.config.share_frozen_trunk:
            if "input_ids" in text_inputs:
                text_inputs = _given(**text_inputs, trunk_states=text_model.run_trunk(**text_inputs))
            if "pixel_values" in image_inputs:
                trunk_states = vision_model.run_trunk(image_inputs["pixel_values"])
                image_inputs = _given(**image_inputs, trunk_states=trunk_states)
        with torch.no_grad():  # keys first: while they are computed, no activation is held yet
            image_keys = _unit_features(self.momentum_vision_model, image_inputs).float()
            text_keys = _unit_features(self.momentum_text_model, text_inputs).float()
        outputs: TowerOutputs = {}
        heads = self.brivl.late_heads
        image_head, text_head = (None, None) if heads is None else (heads.image, heads.text)
        if self.config.contrastive_chunk_size and torch.is_grad_enabled():
            images = checkpoint(_unit_vectors, vision_model, image_head, image_inputs, use_reentrant=False)
            texts = checkpoint(_unit_vectors, text_model, text_head, text_inputs, use_reentrant=False)
        else:
            outputs["vision_model_output"] = vision_model(**image_inputs, **keywords)
            outputs["text_model_output"] = text_model(**text_inputs, **keywords)
            images = _rows_and_tokens(outputs["vision_model_output"], image_head)
            texts = _rows_and_tokens(outputs["text_model_output"], text_head)
        return (images[0], texts[0], image_keys, text_keys), (*images[1:], *texts[1:]), outputs

    def _embed_in_chunks(self, text_inputs: TowerInputs, image_inputs: TowerInputs) -> tuple[Embeddings, Tokens]:
        """Return all vectors of `_embed`, `contrastive_chunk_size` images and their texts at a time."""
        size = self.config.contrastive_chunk_size
        texts_per_image = _number_of_rows(text_inputs) // _number_of_rows(image_inputs)
        chunks = zip(_split(text_inputs, size * texts_per_image), _split(image_inputs, size), strict=True)
        embedded = ((*rows, *tokens) for rows, tokens, _ in (self._embed(*chunk) for chunk in chunks))
        image_queries, text_queries, image_keys, text_keys, *tokens = map(torch.cat, zip(*embedded, strict=True))
        return (image_queries, text_queries, image_keys, text_keys), tuple(tokens)

    def _keys_of_batch(
        self, image_keys: Tensor, text_keys: Tensor, group_ids: Tensor, text_groups: Tensor, image_of: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the keys of the batch that queries meet: none without `in_batch_negatives`.

        In training they are those of all processes, and wait for the queue.

        Args:
            image_keys, text_keys, group_ids, text_groups: of this process.
            image_of: (n,) int64, places of the texts' images.

        Returns:
            image keys (p, d), text keys (m, d), their groups (p,) and (m, g); own images (n, p) and own texts (n, m),
            bool: of each text those of its image.
        """
        keys, first_image, first_text = (image_keys, text_keys, group_ids, text_groups), 0, 0
        if self.training:
            (all_images, first_image), (all_texts, first_text) = gather_rows(image_keys), gather_rows(text_keys)
            keys = all_images, all_texts, gather_rows(group_ids)[0], gather_text_groups(text_groups)
            self._keep_for_the_queue(pairs_of_one_group(*keys))
        images, texts, groups, groups_of_texts = keys if self.config.in_batch_negatives else (rows[:0] for rows in keys)
        places = [torch.arange(len(rows), device=image_of.device) for rows in (images, texts)]
        own_images = image_of[:, None] == places[0] - first_image
        own_texts = image_of[:, None] == (places[1] - first_text) // (len(text_keys) // len(image_keys))
        return images, texts, groups, groups_of_texts, own_images, own_texts

    def contrastive_output(
        self,
        image_queries: Tensor,
        text_queries: Tensor,
        image_keys: Tensor,
        text_keys: Tensor,
        group_ids: Tensor,
        text_group_ids: Tensor | None = None,
    ) -> BriVLForPreTrainingOutput:
        """Return logits and loss of n texts with their b images; in training mode the keys of all processes then wait.

        Of a text that is true of several groups the key does not wait, since the queue holds one group a pair.

        Args:
            image_queries, image_keys: (b, d) unit rows.
            text_queries, text_keys: (n, d) unit rows, those of one image after those of the one before; n / b each.
            group_ids: (b,) int64, -1 = unknown.
            text_group_ids: (n, g) int64, the groups that a text is true of, filled up with -1. None: its image's.

        Raises:
            ValueError: the images have unequally many texts.
        """
        images, texts = len(image_queries), len(text_queries)
        if texts % images:
            raise ValueError(f"{texts} texts cannot belong to {images} images; give each image as many as the others.")
        image_of = torch.arange(images, device=group_ids.device).repeat_interleave(texts // images)
        text_groups = group_ids[image_of, None] if text_group_ids is None else text_group_ids
        image_batch, text_batch, groups, groups_of_texts, own_images, own_texts = self._keys_of_batch(
            image_keys, text_keys, group_ids, text_groups, image_of
        )
        queue = self.queue
        true_texts = torch.cat([is_true(groups_of_texts, group_ids), is_true(queue.group_ids[:, None], group_ids)])
        true_images = is_true(text_groups, torch.cat([groups, queue.group_ids]))
        image_keys_of_texts, true_texts = image_keys[image_of], true_texts.T[image_of]
        near = near_pairs(image_keys_of_texts, text_keys, queue, top_k=self.config.multi_positive_top_k)
        temperature, group_positives = self.config.temperature, self.config.group_positives
        compare = partial(contrast, near=near, temperature=temperature, group_positives=group_positives)
        keys = image_keys_of_texts, image_batch, queue.image_keys
        logits_per_text, text_loss = compare(text_queries, *keys, own=own_images, true=true_images)
        queries, keys = image_queries[image_of], (text_keys, text_batch, queue.text_keys)
        logits_per_image, image_loss = compare(queries, *keys, own=own_texts, true=true_texts)
        return BriVLForPreTrainingOutput(
            loss=text_loss + image_loss,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_text,
            text_embeds=text_queries,
            image_embeds=image_queries,
            text_keys=text_keys,
            image_keys=image_keys,
        )

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
        return_loss: bool = True,
        image_states: Tensor | None = None,
        text_states: Tensor | None = None,
        text_group_ids: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BriVLForPreTrainingOutput:
        """Compute queries, keys and the loss of b images and n texts; in training mode the keys wait for `pop_keys`.

        Every image has n / b texts, one image's after those of the one before; usually one.

        Args:
            group_ids: (b,) int64, e.g. the concept of a pair: queue entries of the same group are left out of the
                negatives; -1 = unknown. Other arguments as in `BriVLModel`.
            return_loss: there so that Trainer evaluates without labels; the loss is always returned.
            image_states, text_states: (b, c, h, w) and (n, l, e) output of the towers' `run_trunk`, instead of
                pixel_values and input_ids: the frozen layers need to run only once per image and text.
            text_group_ids: (n, g) int64, all groups that a text is true of, filled up with -1: their images are no
                negatives of it. None: only the group of its image.

        Raises:
            TypeError: for keywords that are no input of BriVL and no keyword of transformers.
            ValueError: the images have unequally many texts.
        """
        keywords = transformers_keywords(kwargs) | {"return_dict": True}
        text_inputs = _given(input_ids=input_ids, attention_mask=attention_mask, trunk_states=text_states)
        image_inputs = _given(pixel_values=pixel_values, trunk_states=image_states, feature_map=feature_map)
        image_inputs |= _given(boxes=boxes, box_mask=box_mask)
        outputs: TowerOutputs = {}
        if self.config.contrastive_chunk_size:
            embeddings, tokens = self._embed_in_chunks(text_inputs, image_inputs)
        else:
            embeddings, tokens, outputs = self._embed(text_inputs, image_inputs, **keywords)
        if group_ids is None:
            group_ids = torch.full((len(embeddings[0]),), NO_GROUP, device=embeddings[0].device)
        result = self.contrastive_output(*embeddings, group_ids, text_group_ids)
        for name, output in outputs.items():
            result[name] = output
        if tokens:
            length = next(iter(text_inputs.values())).shape[1]
            masks = token_mask(tokens[0], box_mask, tokens[0].shape[1]), token_mask(tokens[1], attention_mask, length)
            scores = late_interaction_scores(tokens[0], masks[0], tokens[1], masks[1])
            late_logits, positives = scores / self.config.late_temperature, self.config.group_positives
            late_loss = in_batch_info_nce(late_logits, group_ids, text_group_ids, group_positives=positives)
            result["loss"] = cast(Tensor, result.loss) + self.config.late_weight * late_loss
            result["image_tokens"], result["image_token_mask"] = tokens[0], masks[0]
            result["text_tokens"], result["text_token_mask"] = tokens[1], masks[1]
            result["late_scores"] = scores
        return result


def _given(**inputs: Tensor | None) -> TowerInputs:
    return {name: tensor for name, tensor in inputs.items() if tensor is not None}


def _unit_features(tower: nn.Module, inputs: TowerInputs) -> Tensor:
    return _unit_rows(tower(**inputs))


def _unit_rows(output: BaseModelOutputWithPooling) -> Tensor:
    return F.normalize(cast(Tensor, output.pooler_output), dim=-1)


def _unit_vectors(tower: nn.Module, head: nn.Module | None, inputs: TowerInputs) -> tuple[Tensor, ...]:
    return _rows_and_tokens(tower(**inputs), head)


def _rows_and_tokens(output: BaseModelOutputWithPooling, head: nn.Module | None) -> tuple[Tensor, ...]:
    """Return the embeddings (b, d), and with a head the tokens (b, n, c)."""
    rows = _unit_rows(output)
    return (rows,) if head is None else (rows, project_tokens(head, cast(Tensor, output.last_hidden_state)))


def _number_of_rows(inputs: TowerInputs) -> int:
    return len(next(iter(inputs.values())))


def _split(inputs: TowerInputs, size: int) -> list[TowerInputs]:
    """Return the inputs of `size` rows at a time."""
    count = _number_of_rows(inputs)
    return [{name: rows[start : start + size] for name, rows in inputs.items()} for start in range(0, count, size)]


__all__ = ["BriVLForPreTraining", "BriVLForPreTrainingOutput"]
