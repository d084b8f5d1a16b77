"""Made-up texts of three disciplines in the files of CSLDCP: eight a class; the last is not tested."""

import json
from pathlib import Path

import torch
from helpers.brivl.tiny import IMAGE_SIZE, TINY_BERT, tiny_config
from helpers.perturb import perturb
from PIL import Image
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer
from wenlan.modeling_brivl import BriVLModel
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, build_character_tokenizer

LENGTH = 16  # tokens that a tower reads
PROMPTS = "这是关于的论文这篇阐述了0123456789"
CLASSES = ["天文学", "作物学", "农业工程"]
WORDS = {"天文学": "星系恒星望远镜轨道", "作物学": "水稻小麦产量品种", "农业工程": "灌溉拖拉机温室排水"}


def text_of(label: str, number: int) -> str:
    """Return a text with some characters of its class among those of all texts."""
    words = WORDS[label]
    own = "".join(words[(number * step + step) % len(words)] for step in range(1, 5))
    return f"本文第{number}次研究了{own}的方法"


def write_csldcp(folder: Path, *, tested: int = 6) -> Path:
    """Write the files of a folder; the last class does not occur in the test, as one of CSLDCP's does not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels_all.txt").write_text("\n".join(CLASSES), "utf-8")
    for split in range(5):
        rows = [(label, text_of(label, 100 * split + number)) for label in CLASSES for number in range(8)]
        write_rows(folder / f"train_{split}.json", rows)
    rows = [(label, text_of(label, 1000 + number)) for label in CLASSES[:2] for number in range(tested)]
    write_rows(folder / "test_public.json", rows)
    return folder


def write_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write (label, content) as JSON lines."""
    lines = [
        json.dumps({"content": text, "label": label, "id": number}, ensure_ascii=False)
        for number, (label, text) in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def tokenizer_for(max_length: int) -> BertTokenizer:
    """Return a tokenizer of single characters that knows all texts, names and prompts."""
    texts = [text_of(label, number) for label in CLASSES for number in range(10)]
    return build_character_tokenizer([*texts, *CLASSES, *WORDS.values(), PROMPTS], max_length=max_length)


def save_models(folder: Path) -> dict[str, str]:
    """Save a tiny BriVL, an encoder and a masked language model, with random weights; return their folders."""
    torch.manual_seed(0)
    tokenizer = tokenizer_for(LENGTH)
    sizes = {**TINY_BERT, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    text = {"encoder_config": sizes, "max_text_length": LENGTH, "num_hidden_layers": 0, "hidden_size": 20}
    brivl = perturb(BriVLModel(tiny_config(text=text)))
    brivl.save_pretrained(folder / "brivl")
    BriVLProcessor(BriVLImageProcessor(size=IMAGE_SIZE, max_regions=5), tokenizer, LENGTH).save_pretrained(
        folder / "brivl"
    )
    config = BertConfig.from_dict({name: value for name, value in sizes.items() if name != "model_type"})
    for name, kind in {"encoder": BertModel, "masked_lm": BertForMaskedLM}.items():
        perturb(kind(config)).save_pretrained(folder / name)
        tokenizer_for(64).save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("brivl", "encoder", "masked_lm")}


def write_images(folder: Path, count: int) -> Path:
    """Write images of one colour each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (40, 40), (40 * number % 256, 255 - 30 * number, 90)).save(folder / f"{number}.png")
    return folder
