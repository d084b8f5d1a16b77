"""Rebuilds the embedded data set emoji7 from its sources; needs node, npm and the extra `build-data`. One minute.

    python tools/build_emoji7.py
    python tools/build_emoji7.py --output my_emoji7

Users never run this: the built files travel with the package.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from build_emoji7_concepts import read_concepts
from build_emoji7_images import FLUENT3D, ICONIFY_STYLES, STYLES, draw_style
from wenlan.data.emoji7.dataset import FOLDER
from wenlan.data.rows.languages import LANGUAGES

PACKAGES = {
    "cldr-annotations-full": "48.2.0",
    "cldr-annotations-derived-full": "48.2.0",
    "emoji-datasource-google": "16.0.0",
    ICONIFY_STYLES["noto"]: "1.2.9",
    ICONIFY_STYLES["twemoji"]: "1.2.5",
    ICONIFY_STYLES["notov1"]: "1.2.5",
    ICONIFY_STYLES["emojitwo"]: "1.2.3",
    ICONIFY_STYLES["fluentflat"]: "1.2.6",
    FLUENT3D: "1.1.0",
}
CONCEPT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("concept", "emoji", "group", "subgroup")]
    + [("detector_class", pa.bool_()), ("concept_split", pa.string())]
    + [(f"name_{language}", pa.string()) for language in LANGUAGES]
    + [(f"keywords_{language}", pa.list_(pa.string())) for language in LANGUAGES]
)
IMAGE_SCHEMA = pa.schema([("concept", pa.string()), ("style", pa.string()), ("image", pa.binary())])


def main() -> None:
    """Build concepts.parquet and images_STYLE.parquet and print their row counts and sizes."""
    parser = argparse.ArgumentParser(description="Rebuild the embedded data set emoji7 from its pinned sources.")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = install_packages(Path(folder))
        rows = read_concepts(packages)
        write_table(pa.Table.from_pylist(rows, schema=CONCEPT_SCHEMA), output / "concepts.parquet")
        for style in STYLES:
            drawn = draw_style(packages, style, [row["concept"] for row in rows])
            images = [{"concept": concept, "style": style, "image": image} for concept, image in drawn]
            write_table(pa.Table.from_pylist(images, schema=IMAGE_SCHEMA), output / f"images_{style}.parquet")
    print(f"emoji7 is in {output}. Next: python -m pytest tests/data/emoji7/test_dataset.py")


def install_packages(folder: Path) -> Path:
    """Return the `node_modules` folder with the pinned packages, none of whose scripts has run."""
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}), "utf-8")
    subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder / "node_modules"


def write_table(table: pa.Table, path: Path) -> None:
    """Write the table as parquet (zstd) in one step: the file is either the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd", compression_level=19)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

__all__ = ["PACKAGES", "install_packages", "main", "write_table"]
