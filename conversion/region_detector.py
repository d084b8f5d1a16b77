"""Convert a checkpoint of detectron2 or of a descendant of it to a folder that `RegionDetector.from_pretrained` opens.

    wenlan convert regions --preset bua --checkpoint bua-caffe-frcn-r101.pth --output bua
    wenlan convert regions --preset d2-fpn --checkpoint model_final.pkl --config cfg.yaml --output coco-fpn
    wenlan convert regions --preset lxmert --checkpoint pytorch_model.bin --config config.yaml --output vg

The result computes what the original computes. Two settings change it without changing any shape, the scale of the
pixels (PIXEL_STD) and the place of the stride (STRIDE_IN_1X1): they are the preset's unless --config says otherwise.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..data.files.bounded import read_bounded_text
from ..data.rows.text import is_blank
from ..modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ..modeling_region_detector.modeling_region_detector import RegionDetector
from ..processing.regions.detectron2_interop.checkpoint import ConvertedDetector, convert_detectron2_checkpoint
from ..processing.regions.detectron2_interop.config import image_changes
from ..processing.regions.detectron2_interop.weights import read_detector_weights
from ..processing.regions.detectron2_interop.yaml_loader import read_detectron2_yaml
from .folder import list_dropped, name_file, refuse_existing, write_folder

NONE_OF_THEM = ("__background__", "__no_attribute__", "background")  # first line of some lists of names
CHECKED_SIZE = {"shortest_edge": 96, "longest_edge": 160}
CHECKED_PROPOSALS = 10


def read_names(path: Path, count: int, option: str) -> list[str]:
    """Return the names in a text file, one a line.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for another number of names, an empty one, or text that is not UTF-8.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such file of names: {path}")
    try:
        names = [line.strip() for line in read_bounded_text(path).strip().split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    if len(names) == count + 1 and names[0] in NONE_OF_THEM:
        names = names[1:]
    if len(names) != count or any(map(is_blank, names)):
        raise ValueError(f"{path} has {len(names)} names, the detector needs {count}, one a line: {option}.")
    return names


def convert(
    weights: Mapping[str, Tensor],
    preset: str,
    cfg: Mapping[str, object],
    *,
    class_names: Path | None = None,
    attribute_names: Path | None = None,
) -> ConvertedDetector:
    """Return the detector in a checkpoint, with the names of its classes and attributes.

    Raises:
        ValueError: as `convert_detectron2_checkpoint` and `read_names` do, and for weights that are no numbers.
    """
    converted = convert_detectron2_checkpoint(weights, preset, cfg)
    if damaged := [name for name, tensor in converted.state.items() if not tensor.isfinite().all()]:
        raise ValueError(f"the weights are damaged, not all are numbers: {', '.join(damaged[:5])}")
    config = converted.config
    if class_names is not None:
        names = read_names(class_names, config.num_objects, "--class-names")
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in config.id2label.items()}
    if attribute_names is not None:
        config.attribute_names = read_names(attribute_names, config.num_attributes, "--attribute-names")
    return converted


def build_image_processor(
    preset: str, cfg: Mapping[str, object], weights: Mapping[str, Tensor]
) -> RegionImageProcessor:
    """Return what prepares images as the original does.

    Raises:
        ValueError: when the checkpoint itself says another mean or scale of the pixels.
    """
    processor = RegionImageProcessor.from_variant(preset, image_changes(preset, cfg))
    for name, ours in {"pixel_mean": processor.image_mean, "pixel_std": processor.image_std}.items():
        if name in weights and not torch.allclose(weights[name].flatten().float(), torch.tensor(ours), atol=1e-3):
            theirs = weights[name].flatten().tolist()
            raise ValueError(f"{name} is {theirs} in the checkpoint but {ours} here: pass its --config.")
    return processor


def check_folder(folder: Path, model: RegionDetector, image_processor: RegionImageProcessor) -> None:
    """Open the folder as a user would and find regions in a made-up image.

    Raises:
        ValueError: when these are not those of the model in memory.
    """
    opened = RegionDetector.from_pretrained(folder), RegionImageProcessor.from_pretrained(folder)
    expected, found = _regions_of_made_up_image(model, image_processor), _regions_of_made_up_image(*opened)
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape or not torch.allclose(tensor, found[name], rtol=1e-4, atol=1e-4):
            raise ValueError(f"What was saved is not what was converted: {name} of a made-up image differ.")


def _regions_of_made_up_image(model: RegionDetector, image_processor: RegionImageProcessor) -> dict[str, Tensor]:
    y, x = torch.meshgrid(torch.arange(96), torch.arange(144), indexing="ij")
    image = Image.fromarray(torch.stack([x, y * 2, (x // 16 + y // 16) % 2 * 200], dim=-1).byte().numpy())
    inputs = image_processor(image, return_tensors="pt", size=CHECKED_SIZE)
    proposals, model.config.post_nms_top_n = model.config.post_nms_top_n, CHECKED_PROPOSALS
    with torch.inference_mode():
        output = model(**inputs)
    model.config.post_nms_top_n = proposals
    return {name: value for name, value in output.items() if isinstance(value, Tensor)}


def convert_regions(
    checkpoint: Path,
    output_dir: Path,
    *,
    preset: str,
    config_file: Path | None = None,
    class_names: Path | None = None,
    attribute_names: Path | None = None,
) -> Path:
    """Write detector and image processor of an original checkpoint, check and return the folder.

    Args:
        checkpoint: .pth or .bin as `torch.save` writes them, .safetensors, or .pkl of detectron2's model zoo.
        output_dir: the folder to write; it must not exist or be empty, and appears only when complete.
        preset: "bua" (caffe's bottom-up attention), "d2-c4", "d2-fpn" or "lxmert".
        config_file: the YAML that the checkpoint was trained with; for "lxmert" it is needed.
        class_names, attribute_names: text files with one name a line.

    Raises:
        OSError, ValueError: for files that cannot be read or do not fit; nothing is written then.
    """
    refuse_existing(output_dir)
    cfg = {} if config_file is None else read_detectron2_yaml(config_file)
    weights = read_detector_weights(checkpoint)
    with name_file(checkpoint):
        converted = convert(weights, preset, cfg, class_names=class_names, attribute_names=attribute_names)
        image_processor = build_image_processor(preset, cfg, weights)
    config = converted.config
    model = RegionDetector(config)
    model.load_state_dict(converted.state)
    model.eval()
    attributes = f" and {config.num_attributes} attributes" if config.num_attributes else ""
    return write_folder(
        output_dir,
        model,
        image_processor.save_pretrained,
        lambda folder: check_folder(folder, model, image_processor),
        summary=[
            f" for {config.num_objects} classes{attributes}, checked: opened again, it finds the same regions.",
            list_dropped(converted.dropped),
        ],
        following=f"wenlan extract-regions IMAGES --model {output_dir} --output OUT",
    )


__all__ = ["build_image_processor", "check_folder", "convert", "convert_regions", "read_names"]
