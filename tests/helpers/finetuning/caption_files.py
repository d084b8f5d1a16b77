"""Made-up data sets of captions in the files that the real ones come in."""

import gzip
import json

MULTI30K = {"train": 4, "val": 2, "test_2016": 3}


def write_lines(file, lines):
    """A text file, or one packed with gzip by its name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def flickr_name(split, number):
    return f"{1000 * (1 + list(MULTI30K).index(split)) + number}.jpg"


def write_multi30k(root, *, suffix=".gz", tasks=(1, 2), number_sign=False):
    """The repository's folder `data`: 4 + 2 + 3 images; task 2 lists its images in the opposite order."""
    for split, size in MULTI30K.items():
        names = [flickr_name(split, number) for number in range(size)]
        if 1 in tasks:
            stem = {"test_2016": "test_2016_flickr"}.get(split, split)
            listed = [f"{name}#{i}" for i, name in enumerate(names)] if number_sign else names
            write_lines(root / "data/task1/image_splits" / f"{stem}.txt", listed)
            for language in ("en", "de", "fr", "cs"):
                captions = [f"{language} of {name[:-4]}" for name in names]
                write_lines(root / "data/task1/raw" / f"{stem}.{language}{suffix}", captions)
        if 2 in tasks:
            write_lines(root / "data/task2/image_splits" / f"{split}_images.txt", names[::-1])
            for language in ("en", "de"):
                for n in range(1, 6):
                    captions = [f"{language} {n} of {name[:-4]}" for name in names[::-1]]
                    write_lines(root / "data/task2/raw" / f"{split}.{n}.{language}{suffix}", captions)
    return root


def coco_name(number, folder="train2014"):
    return f"COCO_{folder}_{number:012d}.jpg"


# number -> (folder, Karpathy's split); 5 has seven captions, as images of COCO may have
COCO = {
    1: ("train2014", "train"),
    2: ("train2014", "train"),
    3: ("val2014", "restval"),
    4: ("val2014", "val"),
    5: ("val2014", "test"),
    6: ("val2014", "test"),
}


def write_karpathy(file, entries=COCO, **changes):
    images = [
        {
            "filename": coco_name(number, folder),
            "filepath": folder,
            "cocoid": number,
            "split": split,
            "sentences": [{"raw": f"caption {i} of {number}", "tokens": []} for i in range(7 if number == 5 else 5)],
        }
        for number, (folder, split) in entries.items()
    ]
    file.write_text(json.dumps({"images": images, "dataset": "coco"} | changes), "utf-8")
    return file


def write_coco(folder, names=("stair_captions_v1.2_train.json", "stair_captions_v1.2_val.json"), word="説明"):
    """Two files of COCO's form, and a tokenised one beside each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(names, ("train2014", "val2014"), strict=True):
        numbers = [number for number, (where, _) in COCO.items() if where == part]
        images = [{"id": number, "file_name": coco_name(number, part)} for number in numbers]
        annotations = [
            {"id": 10 * number + i, "image_id": number, "caption": f"{word}{i}の{number}"}
            for i in range(5)
            for number in numbers
        ]
        content = json.dumps({"images": images, "annotations": annotations})
        (folder / name).write_text(content, "utf-8")
        (folder / name.replace(".json", "_tokenized.json")).write_text(content.replace("の", " の "), "utf-8")
    return folder


def write_coco_cn(folder, *, splits=None, extra=()):
    """1 is for training, 4 for validation; 2 and 6 are the test: one of COCO's training list, one of its test."""
    splits = {"train": [1], "val": [4], "test": [2, 6]} if splits is None else splits
    ids = {split: [coco_name(number, COCO[number][0])[:-4] for number in numbers] for split, numbers in splits.items()}
    for split, names in ids.items():
        write_lines(folder / f"coco-cn_{split}.txt", names)
    written = [f"{name}#0\t图片 {name[-1]}" for names in ids.values() for name in names]
    written.append(f"{ids['test'][0]}#1\t另一句 话")
    write_lines(folder / "imageid.human-written-caption.txt", [*written, *extra])
    translated = [f"{name}#{i}\t翻译 {i}" for name in ids["test"] for i in range(5)]
    write_lines(folder / "imageid.manually-translated-caption.txt", translated)
    return folder
