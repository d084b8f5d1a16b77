"""A made-up clone of the repository of BriVL's authors: three examples and the features of a model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

CAPTIONS = ["一张图片", " 检查的图片用来检查一张一张一张一张一张一张", "图"]


def write_repository(repository: Path, folder: Path, *, code: str = "BriVL-code-inference", **settings: Any) -> Path:
    """Writes the layout of the authors' repository with the features that a converted folder gives."""
    root = repository / code
    for name in ("data/jsonls", "data/imgs", "logs/saves/xyb"):
        (root / name).mkdir(parents=True)
    random, rows, images, boxes = np.random.default_rng(0), [], [], []
    for index, caption in enumerate(CAPTIONS):
        width, height = 310 + index, 220
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[274] = 1 + 5 * (index == 1)  # the original does not turn it
        image.save(root / f"data/imgs/baike_{index}.png", exif=exif)
        corners = random.integers(0, [width // 2, height // 2], (100, 2))
        found = np.concatenate([corners, corners + random.integers(5, 100, (100, 2))], axis=1).tolist()
        sentences = [["alt_text", "别的"], ["sur_text", caption], ["first", "别的"]]
        rows.append({"image_id": f"../data/imgs/baike_{index}.png", "sentences": sentences, "bbox": found})
        images.append(image)
        boxes.append(np.array(found))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "data/jsonls/example.jsonl").write_text(lines, "utf-8")
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    with torch.no_grad():
        output = model(
            **processor(images=images, text=CAPTIONS, boxes=boxes, images_kwargs=settings, return_tensors="pt")
        )
    np.save(root / "logs/saves/xyb/np_img.npy", output.image_embeds.numpy())
    np.save(root / "logs/saves/xyb/np_text.npy", output.text_embeds.numpy())
    return repository


__all__ = ["CAPTIONS", "write_repository"]
