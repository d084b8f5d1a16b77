"""Configuration of MLMM: one transformer over the word pieces of a text and the regions of an image."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"MLMMConfig: {message}")


MAX_SIZE = 2**24  # of any number of a configuration: a file from anywhere may ask for 10**12 of something
MAX_LAYERS = 1000

# What MLMM takes over from the configuration of an XLM-R
XLM_R_FIELDS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "layer_norm_eps",
)


@strict
class MLMMConfig(PreTrainedConfig):
    r"""MLMM: the encoder of XLM-R base over text and Faster R-CNN regions, and its pre-training objectives.

    MLMM's own sizes were never published; the defaults are those of UC2 with the two layer norm epsilons of XLM-R.

    Args:
        max_position_embeddings: rows of the position table; a text may have `max_text_length` tokens.
        position_offset: position of the first token. XLM-R and UC2 start at 2 (padding id + 1), UNITER at 0.
        layer_norm_eps: epsilon of the embeddings, of the MLM head and of the VQA head.
        encoder_layer_norm_eps: epsilon of the encoder layers, of the MRFR head and of the MRC head. UC2 has 1e-12 here
            and 1e-5 above, UNITER 1e-12 in both.
        region_feature_dim: width of a region's feature.
        normalize_region_features: True brings every feature to mean 0 and variance 1 before its projection, and as the
            target of MRFR. A detector's features may have norms near 100, with which the projection of a model that
            starts from nothing does not learn.
        region_box_dim: numbers that place a region: x1, y1, x2, y2, width, height, area, all relative to the image.
        num_region_classes: classes of the detector, background included.
        region_background_index: which of them is the background; it never counts as a right answer of MRC.
        freeze_word_embeddings: True leaves the word embeddings out of training: 192 of about 280 million parameters.
        frozen_layers: so many of the lowest encoder layers stay as they are, as those of a text encoder may.
        pooling: what the pooler reads: "cls" the first token, as in XLM-R and UC2; "mean" the mean over the text, or
            without a text over the regions. Sentence encoders like e5 were trained by the mean, and their first token
            is nearly the same for all texts.
        compact_batches: True moves the padding between text and regions to the end and cuts it off before the encoder:
            the same outputs, less work. Not done where hidden states or attentions are asked for.
        itm_loss_weight, mlm_loss_weight, mrfr_loss_weight, mrc_loss_weight: factors of the pre-training losses.
        mrc_reduction: "elementwise" takes the mean over regions and classes, as UC2 and UNITER do, which makes the loss
            smaller by the number of classes; "batchmean" is the usual Kullback-Leibler divergence per region.
        retrieval_loss: "margin" ranks groups of pairs by the rank head; "itm" classifies pairs by the matching head.
        rank_margin: margin between the sigmoids of a matching and a wrong pair.
        num_answers: answers of visual question answering; `id2label` names them.

    Example:

    ```python
    >>> from wenlan import MLMMConfig
    >>> MLMMConfig(id2label={0: "yes", 1: "no", 2: "二"}).num_answers
    3

    ```

    Source: UC2 (zmykevin/UC2), UNITER (ChenRocks/UNITER), and the second section of the WuDao-WenLan paper.
    """

    model_type = "mlmm"
    attribute_map = {"num_answers": "num_labels"}
    keys_to_ignore_at_inference = [
        "losses",
        "accuracies",
        "accuracy",
        "mlm_logits",
        "mrfr_predictions",
        "mrc_logits",
        "text_states",
        "region_states",
        "hidden_states",
        "attentions",
    ]
    # what transformers' XLM-R layers ask of their configuration beside the fields
    is_decoder = False
    add_cross_attention = False

    vocab_size: int = 250002
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 514
    position_offset: int = 2
    layer_norm_eps: float | int = 1e-5
    encoder_layer_norm_eps: float | int = 1e-5
    initializer_range: float | int = 0.02
    pad_token_id: int = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = True
    region_feature_dim: int = 2048
    normalize_region_features: bool = False
    region_box_dim: int = 7
    num_region_classes: int = 1601
    region_background_index: int = 0
    freeze_word_embeddings: bool = False
    frozen_layers: int = 0
    pooling: str = "cls"
    compact_batches: bool = True
    itm_loss_weight: float | int = 1.0
    mlm_loss_weight: float | int = 1.0
    mrfr_loss_weight: float | int = 1.0
    mrc_loss_weight: float | int = 1.0
    mrc_reduction: str = "elementwise"
    retrieval_loss: str = "margin"
    rank_margin: float | int = 0.2

    def __post_init__(self, **kwargs: Any) -> None:
        for name, value in (vars(self) | kwargs).items():
            limit = MAX_LAYERS if name == "num_hidden_layers" else MAX_SIZE
            is_size = not isinstance(value, int | float) or abs(value) < limit
            _require(is_size, f"{name} is {str(value)[:20]}, which is no size that a model can have.")
            # Anything else than a word would be a repository of compiled code.
            is_known = not name.endswith("_implementation") or str(value).isidentifier()
            _require(is_known, f"{name} is {str(value)[:40]!r}; give sdpa, eager or another known one.")
        super().__post_init__(**kwargs)

    @property
    def max_text_length(self) -> int:
        """Tokens that a text may have, specials included."""
        return self.max_position_embeddings - self.position_offset

    def validate_sizes(self) -> None:
        """Raise ValueError for sizes that cannot work."""
        size, heads = self.hidden_size, self.num_attention_heads
        _require(size % heads == 0, f"hidden_size={size} is not a multiple of num_attention_heads={heads}.")
        offset, end = self.position_offset, self.max_position_embeddings
        _require(0 <= offset < end, f"position_offset={offset} is not in 0..{end - 1}, the positions.")
        frozen, layers = self.frozen_layers, self.num_hidden_layers
        _require(0 <= frozen <= layers, f"frozen_layers={frozen} is not in 0..{layers}, the layers.")
        index, classes = self.region_background_index, f"{self.num_region_classes} classes of num_region_classes"
        _require(0 <= index < self.num_region_classes, f"region_background_index={index} is not among the {classes}.")

    def validate_objectives(self) -> None:
        """Raise ValueError for a pooling and objectives that do not exist."""
        choices = {
            "pooling": ("cls", "mean"),
            "mrc_reduction": ("elementwise", "batchmean"),
            "retrieval_loss": ("margin", "itm"),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            _require(value in known, f"{name} must be {' or '.join(map(repr, known))}, got {value!r}.")


__all__ = ["XLM_R_FIELDS", "MLMMConfig"]
