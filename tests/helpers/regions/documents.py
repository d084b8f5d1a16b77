"""The files that docs/regions.md assumes: a detectron2 checkpoint, features of other programs, a COCO file."""

import json

import lmdb
import msgpack
import numpy as np
import torch
import yaml
from helpers.regions.golden import read_config, read_weights
from helpers.regions.rows import random_row
from wenlan.data import write_bua_npz, write_emoji_scenes


def write_region_files(folder):
    """Writes them with the names of the document."""
    torch.save({"model": read_weights("d2_c4")}, folder / "model_final.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(read_config("d2_c4")["cfg"]), "utf-8")
    rows = [random_row(f"coco_{index}", seed=index) for index in range(2)]
    (folder / "bua_npz").mkdir()
    for row in rows:
        write_bua_npz(folder / "bua_npz" / f"{row['image_id']}.npz", row)
    write_lmdb(folder / "coco_lmdb", rows)
    sizes = [{"id": row["image_id"], "file_name": f"{row['image_id']}.jpg", "height": 48, "width": 64} for row in rows]
    (folder / "coco_sizes.json").write_text(json.dumps({"images": sizes}), "utf-8")
    write_emoji_scenes(folder / "coco", "detect", 4)
    scenes = folder / "coco" / "detect"
    (folder / "images").mkdir(exist_ok=True)
    for path in (scenes / "images").iterdir():
        path.rename(folder / "images" / path.name)
    coco = json.loads((scenes / "instances.json").read_text("utf-8"))
    for image in coco["images"]:
        image["file_name"] = image["file_name"].split("/")[-1]
    (folder / "instances.json").write_text(json.dumps(coco), "utf-8")


def write_lmdb(folder, rows):
    """Writes what UNITER reads: NumPy arrays in msgpack by the name of their file."""
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        for row in rows:
            x1, y1, x2, y2 = (row["boxes"] / [64, 48, 64, 48]).T
            arrays = {
                "features": row["features"],
                "norm_bb": np.stack([x1, y1, x2, y2, x2 - x1, y2 - y1], axis=1).astype(np.float16),
                "conf": row["object_scores"].astype(np.float16),
                "soft_labels": row["class_probs"].astype(np.float16),
            }
            packed = {
                name: {b"nd": True, b"type": a.dtype.str, b"kind": b"", b"shape": a.shape, b"data": a.tobytes()}
                for name, a in arrays.items()
            }
            transaction.put(f"{row['image_id']}.npz".encode(), msgpack.packb(packed))
