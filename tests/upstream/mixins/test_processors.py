"""The processors in transformers' common processor tests: `make test-upstream`."""

import tempfile
import unittest
from pathlib import Path
from typing import Any

from helpers.mlmm.folder import write_detector
from helpers.upstream import load_mixin
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, MLMMProcessor, load_small_tokenizer

import wenlan  # noqa: F401  makes the Auto classes know the processors

ProcessorTesterMixin = load_mixin("test_processing_common", "ProcessorTesterMixin")
ImageProcessingTestMixin = load_mixin("test_image_processing_common", "ImageProcessingTestMixin")
ImageProcessingTester = load_mixin("test_image_processing_common", "ImageProcessingTester")


class BriVLProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = BriVLProcessor

    @classmethod
    def _setup_tokenizer(cls):
        return load_small_tokenizer()

    @classmethod
    def _setup_image_processor(cls):
        return BriVLImageProcessor(size=40, max_regions=6)


class MLMMProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = MLMMProcessor
    images_input_name = "region_features"
    folder = tempfile.TemporaryDirectory()
    detector = str(write_detector(Path(folder.name)))

    @classmethod
    def _setup_tokenizer(cls):
        return load_small_tokenizer()

    @classmethod
    def prepare_processor_dict(cls) -> dict[str, Any]:
        return {"detector": cls.detector, "min_boxes": 2, "max_boxes": 5}

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.folder.cleanup()


class ImageTester(ImageProcessingTester):
    """Images of an image processor that is not transformers' own."""

    image_processor_class: type

    def _get_image_processing_classes(self) -> dict[str, type]:
        return {"torchvision": self.image_processor_class}


class BriVLImageTester(ImageTester):
    image_processor_class = BriVLImageProcessor

    def __init__(self, parent, **kwargs) -> None:
        super().__init__(parent, **{"size": {"height": 40, "width": 40}} | kwargs)


class RegionImageTester(ImageTester):
    image_processor_class = RegionImageProcessor

    def __init__(self, parent, **kwargs) -> None:
        super().__init__(parent, **{"size": {"shortest_edge": 60, "longest_edge": 100}} | kwargs)

    def expected_output_image_shape(self, images) -> tuple[int, ...]:
        channels = self.num_channels
        sizes = [self._resized(image) for image in images]
        return channels, max(height for height, _ in sizes), max(width for _, width in sizes)

    def _resized(self, image) -> tuple[int, int]:
        if hasattr(image, "size") and not callable(image.size) and isinstance(image.size, tuple):
            width, height = image.size
        else:
            sides = [side for side in image.shape if side != self.num_channels]
            height, width = sides[:2]
        scale = 60 / min(height, width)
        if round(scale * max(height, width)) > 100:
            scale = 100 / max(height, width)
        return round(height * scale), round(width * scale)


class BriVLImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = BriVLImageTester


class RegionImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = RegionImageTester
