"""What lies in a repository of the hub, or is named by one, comes as the processor itself was asked for."""

import pickle
import shutil

import pytest
import torch
from helpers.hub_server import commit, run_hub
from helpers.mlmm.folder import noise_image, write_detector, write_model
from helpers.perturb import perturb
from helpers.regions.tiny_detector import tiny_detector
from transformers import AutoProcessor, pipeline
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.pipelines.visual_question_answering import TASK
from wenlan.processing import MLMMProcessor

import wenlan  # noqa: F401  makes AutoProcessor know MLMM

IMAGE = noise_image()
SETTINGS = {"min_boxes": 2, "max_boxes": 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small_tokenizer):
    """Processors with a copy of their detectors, two versions of the same, and what they see."""
    root, seen = tmp_path_factory.mktemp("hub"), {}
    for seed, version in enumerate(("main", "v1")):
        detector = write_detector(root / f"detector-{version}")
        perturb(tiny_detector(), seed=seed, scale=0.02).save_pretrained(detector)
        processor = MLMMProcessor(small_tokenizer, detector=str(detector), **SETTINGS)
        processor.save_pretrained(root / version, copy_detector=True)
        seen[version] = processor(images=IMAGE)["region_features"]
    assert seen["main"].shape != seen["v1"].shape or not torch.equal(seen["main"], seen["v1"])
    return root, seen


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with run_hub(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def see(processor):
    return processor(images=IMAGE)["region_features"]


def add_versions(hub, folders, **options):
    for version in ("main", "v1"):
        hub.add("me/mlmm", version, folders[0] / version, **options)


@pytest.mark.parametrize("version", ["main", "v1"])
def test_detector_is_of_the_revision_of_its_processor(hub, folders, version):
    add_versions(hub, folders)
    for revision in (version, commit("me/mlmm", version)):
        assert torch.equal(see(MLMMProcessor.from_pretrained("me/mlmm", revision=revision)), folders[1][version])
    assert torch.equal(see(AutoProcessor.from_pretrained("me/mlmm", revision=version)), folders[1][version])
    assert torch.equal(see(MLMMProcessor.from_pretrained("me/mlmm")), folders[1]["main"])


def test_revision_that_moves_after_loading_leaves_the_detector_where_it_was(hub, folders):
    hub.add("me/mlmm", "main", folders[0] / "main")
    processor = MLMMProcessor.from_pretrained("me/mlmm")
    hub.repositories["me/mlmm"] = {"moved": folders[0] / "main", "main": folders[0] / "v1"}
    sha = commit("me/mlmm", "main")
    assert processor._source.revision == sha
    hub.requests.clear()
    assert see(processor).shape[0] == 1
    assert {path.split("/")[4] for method, path, _ in hub.requests if "/resolve/" in path} <= {sha}


def test_detector_of_a_private_repository_comes_with_the_token(hub, folders):
    add_versions(hub, folders, token="hf_secret")
    with pytest.raises(OSError, match="me/mlmm"):
        MLMMProcessor.from_pretrained("me/mlmm")
    processor = MLMMProcessor.from_pretrained("me/mlmm", token="hf_secret")
    assert torch.equal(see(processor), folders[1]["main"])
    assert {token for _, path, token in hub.requests if "/detector/" in path} == {"hf_secret"}
    assert "hf_secret" not in repr(processor) + processor.to_json_string()


def test_detector_is_below_the_subfolder_of_its_processor(hub, folders, tmp_path):
    shutil.copytree(folders[0] / "v1", tmp_path / "repository" / "models" / "small")
    hub.add("me/mlmm", "main", tmp_path / "repository")
    for name in ("me/mlmm", tmp_path / "repository"):
        processor = MLMMProcessor.from_pretrained(name, subfolder="models/small")
        assert torch.equal(see(processor), folders[1]["v1"])


def test_detector_goes_to_the_cache_of_its_processor_and_is_found_there(hub, folders, tmp_path):
    add_versions(hub, folders)
    assert torch.equal(see(MLMMProcessor.from_pretrained("me/mlmm", cache_dir=tmp_path / "mine")), folders[1]["main"])
    assert not (tmp_path / "cache").exists()
    hub.requests.clear()
    processor = MLMMProcessor.from_pretrained("me/mlmm", cache_dir=tmp_path / "mine", local_files_only=True)
    assert torch.equal(see(processor), folders[1]["main"])
    assert hub.requests == []
    see(MLMMProcessor.from_pretrained("me/mlmm", cache_dir=tmp_path / "mine", force_download=True))
    assert "detector/model.safetensors" in hub.files_of("me/mlmm")


@pytest.mark.parametrize("own", [True, False])
def test_only_the_model_is_fetched(hub, folders, tmp_path, small_tokenizer, own):
    folder = shutil.copytree(folders[0] / "main", tmp_path / "whole")
    detector = folder / "detector" if own else folders[0] / "detector-main"
    target = folder if own else shutil.copytree(detector, tmp_path / "named")
    beside = target / "detector" if own else target
    (beside / "checkpoint-5").mkdir()
    (beside / "checkpoint-5" / "optimizer.safetensors").write_bytes(b"much")
    (beside / "training.log").write_text("much", "utf-8")
    hub.add("me/it", "main", target)
    if own:
        processor = MLMMProcessor.from_pretrained("me/it")
    else:
        processor = MLMMProcessor(small_tokenizer, detector="me/it", **SETTINGS)
    assert torch.equal(see(processor), folders[1]["main"])
    files = [name.removeprefix("detector/") for name in hub.files_of("me/it") if "detector/" in name or not own]
    assert sorted(files) == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_detector_with_an_id_of_its_own_has_its_own_revision(hub, folders, tmp_path, small_tokenizer):
    """The token and the cache are those of the processor; its revision and subfolder say nothing about others."""
    hub.add("you/detector", "main", folders[0] / "detector-main", token="hf_secret")
    processor = MLMMProcessor(small_tokenizer, detector="you/detector", **SETTINGS)
    with pytest.raises(OSError, match="no folder you/detector, and the hub does not give it") as caught:
        see(processor)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    processor.save_pretrained(tmp_path / "repository" / "inner")
    hub.add("me/mlmm", "v7", tmp_path / "repository", token="hf_secret")
    loaded = MLMMProcessor.from_pretrained("me/mlmm", revision="v7", subfolder="inner", token="hf_secret")
    assert torch.equal(see(loaded), folders[1]["main"])


def test_detector_that_is_nowhere_is_named(hub, small_tokenizer):
    for name in ("no/detector", "no/such/folder", "../elsewhere"):
        with pytest.raises(OSError, match=name):
            see(MLMMProcessor(small_tokenizer, detector=name))


def test_pipeline_passes_revision_and_token_on(hub, tmp_path):
    """As `pipeline(...)` opens model and processor of a private repository."""
    answers = {}
    for seed, version in enumerate(("main", "v1")):
        folder = write_model(tmp_path / version)
        perturb(tiny_detector(), seed=seed, scale=0.02).save_pretrained(folder / "detector")
        hub.add("me/vqa", version, folder, token="hf_secret")
        answers[version] = pipeline(TASK, model=str(folder), device="cpu")(image=IMAGE, question="How many?")
    assert answers["main"] != answers["v1"]
    for version, expected in answers.items():
        answer = pipeline(TASK, model="me/vqa", revision=version, token="hf_secret", device="cpu")
        assert answer(image=IMAGE, question="How many?") == expected


def test_workers_open_the_detector_that_the_processor_would(hub, folders):
    add_versions(hub, folders)
    processor = pickle.loads(pickle.dumps(MLMMProcessor.from_pretrained("me/mlmm", revision="v1")))
    assert torch.equal(see(processor), folders[1]["v1"])


def test_copy_of_a_detector_from_the_hub_needs_no_hub(hub, folders, tmp_path):
    add_versions(hub, folders)
    MLMMProcessor.from_pretrained("me/mlmm", revision="v1").save_pretrained(tmp_path / "copy")
    hub.repositories.clear()
    assert torch.equal(see(MLMMProcessor.from_pretrained(tmp_path / "copy")), folders[1]["v1"])


def test_preparation_comes_with_the_detector(folders):
    processor = MLMMProcessor.from_pretrained(folders[0] / "v1")
    see(processor)
    assert isinstance(processor.region_extractor.image_processor, RegionImageProcessor)
    assert processor.region_extractor.image_processor.size["shortest_edge"] == 64


def test_uploaded_processor_opens_with_the_detector_that_went_along(hub, folders, small_tokenizer):
    processor = MLMMProcessor(small_tokenizer, detector=str(folders[0] / "detector-v1"), **SETTINGS)
    processor.push_to_hub("me/whole", copy_detector=True, commit_message="first", token="hf_mine")
    assert processor.detector == str(folders[0] / "detector-v1")
    uploaded = MLMMProcessor.from_pretrained("me/whole")
    assert uploaded.detector == "./detector"
    assert torch.equal(see(uploaded), folders[1]["v1"])
    processor.push_to_hub("me/named", token="hf_mine")
    assert MLMMProcessor.from_pretrained("me/named").detector == processor.detector
    assert not (hub.uploads / "me" / "named" / "detector").exists()


def test_processor_that_is_saved_and_uploaded_takes_its_detector_along(hub, folders, tmp_path, small_tokenizer):
    processor = MLMMProcessor(small_tokenizer, detector=str(folders[0] / "detector-main"), **SETTINGS)
    options = {"push_to_hub": True, "repo_id": "me/saved", "token": "hf_mine"}
    processor.save_pretrained(str(tmp_path / "saved"), copy_detector=True, **options)
    assert torch.equal(see(MLMMProcessor.from_pretrained("me/saved")), folders[1]["main"])
