"""Made-up texts of three disciplines in the files of CSLDCP: eight a class; the last is not tested."""

import json
from pathlib import Path

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
