"""Remakes the images of docs/gallery.md: runs its commands, then copies each image that it shows.

    make gallery                                 # the models too, where they are not there yet
    python tools/build_gallery.py                # an hour and more on 2 cores
    python tools/build_gallery.py --only words   # commands that write into runs/gallery/words

The image `images/gallery/words/histogram.png` of the document comes from `runs/gallery/words/histogram.png`. A command
whose folder already has its `metrics.json` is not run again: remove the folder to remake it.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT, RUNS = ROOT / "docs" / "gallery.md", Path("runs") / "gallery"
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
IMAGE = re.compile(r"!\[[^\]]*\]\((images/gallery/([^)]+))\)")


def main() -> None:
    """Run the commands and copy the images; print their size together.

    Raises:
        SystemExit: with the exit code of a command that failed.
    """
    parser = argparse.ArgumentParser(description="Remake the images of docs/gallery.md.")
    parser.add_argument("--only", nargs="*", help="folders below runs/gallery, such as words")
    only = parser.parse_args().only
    text = DOCUMENT.read_text("utf-8")
    for words in read_commands(text):
        folder = output_folder(words)
        if folder.is_relative_to(RUNS) and not (only and folder.name not in only):
            run(words, folder)
    copied = copy_images(text, RUNS, DOCUMENT.parent)
    print(f"{len(copied)} images, {sum(path.stat().st_size for path in copied) / 1e6:.2f} MB")


def read_commands(text: str) -> list[list[str]]:
    """Return the words of each command of `wenlan` in the document that writes into a folder."""
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if words[:1] == ["wenlan"] and "--output_dir" in words]


def output_folder(words: list[str]) -> Path:
    """Return the folder that a command writes into."""
    return Path(words[words.index("--output_dir") + 1])


def run(words: list[str], folder: Path) -> None:
    """Run a command, unless its folder is complete.

    Raises:
        SystemExit: with its exit code, if it fails.
    """
    if (folder / "metrics.json").exists():
        print(f"{folder} is there")
        return
    print(shlex.join(words), flush=True)
    if code := subprocess.run([sys.executable, "-m", *words]).returncode:
        raise SystemExit(code)


def copy_images(text: str, runs: Path, docs: Path) -> list[Path]:
    """Copy each image of the document that was made to its place; return the places of all.

    Args:
        text: of the document.
        runs: the folder that the commands write into.
        docs: the folder of the document.

    Raises:
        FileNotFoundError: an image is neither made nor in its place.
    """
    places = []
    for name, made in dict.fromkeys(IMAGE.findall(text)):
        source, place = runs / made, docs / name
        if source.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        elif not place.exists():
            raise FileNotFoundError(f"No command has made {source}, which the gallery shows.")
        places.append(place)
    return places


if __name__ == "__main__":
    main()
