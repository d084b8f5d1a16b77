"""Small images, good and bad, and a tiny detector with random weights, for the tests of bulk extraction."""

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig, RegionImageProcessor

TINY = {
    "depth": 50,
    "stem_channels": 4,
    "bottleneck_channels": 4,
    "res2_channels": 8,
    "rpn_channels": 8,
    "anchor_sizes": [[1, 2]],
    "min_proposal_size": 4.0,
    "post_nms_top_n": 12,
    "pooler_size": 4,
    "num_objects": 6,
    "num_attributes": 3,
    "attribute_embedding_dim": 4,
    "attribute_hidden_dim": 8,
}
SHAPES = [(48, 48), (48, 64), (64, 48), (40, 48)]


def save_detector(folder):
    """Writes a detector that finds some regions anywhere."""
    torch.manual_seed(0)
    model = RegionDetector(RegionDetectorConfig.from_variant("bua", TINY))
    with torch.no_grad():
        for layer in (model.roi_heads.box_predictor.cls_score, model.proposal_generator.rpn_head.objectness_logits):
            layer.weight.mul_(100)  # so that scores differ
    model.save_pretrained(folder)
    RegionImageProcessor(size={"shortest_edge": 48, "longest_edge": 80}).save_pretrained(folder)
    return str(folder)


def save_images(folder: Path, count: int):
    """Writes images of noise; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (*SHAPES[index % 4], 3), dtype=np.uint8)
        names.append(f"{index:03d}.{'jpg' if index % 3 else 'png'}")
        Image.fromarray(noise).save(folder / names[-1])
    return names


def truncate(path):
    path.write_bytes(path.read_bytes()[:-400])


def claim_huge(path):
    """Writes a PNG of a few bytes that claims 60000 x 60000 pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(data)


SPOILERS = {
    "truncated": truncate,
    "not an image": lambda path: path.write_text("<html>not found</html>"),
    "empty file": lambda path: path.write_bytes(b""),
    "too large": claim_huge,
    "file missing": Path.unlink,
}


def spoil(folder, names):
    """Spoils images in every way in turn; returns {name: cause}."""
    causes = {}
    for index, name in enumerate(names):
        cause = list(SPOILERS)[index % len(SPOILERS)]
        SPOILERS[cause](folder / name)
        causes[name] = cause
    return causes
