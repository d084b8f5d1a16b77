"""Visual question answering: an image and a question in any of the seven languages to answers with scores.

transformers has removed its own pipeline and refuses its name, "visual-question-answering". This one has the name
"wenlan-vqa" as soon as wenlan is imported. The old name works for folders that carry this file and are opened with
`trust_remote_code=True`: `save_pretrained(folder, with_code=True)` writes one. So this file imports nothing of ours.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import BatchFeature, Pipeline, ProcessorMixin
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import ModelOutput

TASK, REMOVED_TASK = "wenlan-vqa", "visual-question-answering"
ImageInput = str | PathLike | bytes | Image.Image
Answers = list[dict[str, str | float]]


class MLMMVisualQuestionAnsweringPipeline(Pipeline):
    """Answers questions about images: `pipeline("wenlan-vqa", model=folder)`.

    Raises:
        ValueError: the model's configuration names no answers, so it was not trained to give any.
    """

    processor: ProcessorMixin
    # `Pipeline` declares the next four as None.
    _load_processor: Any = True
    _load_tokenizer: Any = False
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = self.model.config.id2label or {}
        if all(re.fullmatch(r"LABEL_\d+", str(name)) for name in names.values()):
            raise ValueError(
                f"The configuration of this {type(self.model).__name__} names no answers (id2label), so it was not "
                "trained to answer questions: fine-tune it, or open a folder of one that was."
            )

    def __call__(  # type: ignore[override]  # a task's own parameters
        self,
        image: ImageInput | Mapping[str, Any] | Sequence[Any] | None = None,
        question: str | Sequence[str] | None = None,
        *,
        regions: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Answers | list[Answers] | Iterator[Answers]:
        """Return the best answers, `[{"answer": "cat", "score": 0.93}, ...]`; of several questions a list of such.

        The best comes first. A score is the sigmoid of the answer's logit: those of a question do not add up to 1.

        Args:
            image: an image (PIL, path, bytes, array or tensor) or several; or, without `question`, what has both: a
                mapping {"image": ..., "question": ...} (or "regions" for "image"), a list, a data set or a generator of
                such.
            question: one, or several: as many as images, or all about the one image. One goes with all images.
            regions: in place of `image`: what `RegionFeatureExtractor.extract` gave, or rows of `read_regions`.
            **kwargs: `top_k`, how many answers (5; never more than the model has); `batch_size`, questions at a time.

        Raises:
            ValueError: an image or a question is missing, their numbers differ, a question is blank, `top_k` is below
                1, or, as the processor says, an image cannot be decoded or has unusable regions.
        """
        if regions is not None and image is not None:
            raise ValueError("Images and regions were both given; pass `image`, or the `regions` found in it.")
        if regions is None and question is None:
            if image is None or _is_one(image):
                raise ValueError("There is no question: pass image=..., question=...")
            if isinstance(image, Sequence) and len(image) == 0:
                return []
            return super().__call__(image, **kwargs)
        images, is_one = self._list_images(image, regions)
        if isinstance(question, str) or question is None:
            questions = [question] * len(images)
        else:
            questions, is_one = list(question), False
        if is_one:
            return super().__call__({**images[0], "question": questions[0]}, **kwargs)
        if len(images) == 1 and len(questions) > 1:
            # its regions are found once
            images = [{"inputs": self._read_image(images[0])}] * len(questions)
        if len(images) != len(questions):
            raise ValueError(
                f"There are {len(images)} images for {len(questions)} questions: give a question an image, one "
                "image for all questions, or one question for all images."
            )
        rows = [{**row, "question": text} for row, text in zip(images, questions, strict=True)]
        return super().__call__(rows, **kwargs) if rows else []

    def _list_images(self, image: Any, regions: Any) -> tuple[list[dict[str, Any]], bool]:
        """Return one row an image, and whether it was given alone, not in a list."""
        if regions is None:
            is_one = image is None or _is_one(image)
            return [{"image": one} for one in ([image] if is_one else image)], is_one
        if not isinstance(regions, Mapping):
            return [{"regions": one} for one in regions], False
        inputs = self.processor(regions=regions)  # one row, or the padded output of a detector
        masks = inputs["region_attention_mask"].bool()
        rows = [
            {"inputs": {name: tensor[[row]][:, mask] for name, tensor in inputs.items()}}
            for row, mask in enumerate(masks)
        ]
        return rows, len(rows) == 1

    def _sanitize_parameters(self, top_k: int | None = None) -> tuple[dict, dict, dict]:  # type: ignore[override]  # a task's own parameters
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; there is at least one answer to give.")
        return {}, {}, {} if top_k is None else {"top_k": top_k}

    def preprocess(self, input_: Mapping[str, Any]) -> dict[str, Tensor]:  # type: ignore[override]  # a task's own parameters
        """Return the tensors of one question and its image."""
        if not isinstance(input_, Mapping) or input_.get("question") is None:
            raise ValueError(f"There is no question in {_shorten(input_)}: give {{'image': ..., 'question': ...}}.")
        return {**self.processor(text=input_["question"]), **self._read_image(input_)}

    def _read_image(self, row: Mapping[str, Any]) -> Mapping[str, Tensor] | BatchFeature:
        if row.get("inputs") is not None:
            return row["inputs"]
        image, regions = row.get("image"), row.get("regions")
        if image is None and regions is None:
            raise ValueError(f"There is no image in {_shorten(row)}: give `image`, or `regions`.")
        return self.processor(images=image, regions=regions)

    def _forward(self, input_tensors: Mapping[str, Tensor]) -> ModelOutput:  # type: ignore[override]  # a task's own parameters
        dtype = self.model.dtype
        return self.model(**{name: x.to(dtype) if x.is_floating_point() else x for name, x in input_tensors.items()})

    def postprocess(self, model_outputs: ModelOutput, top_k: int = 5) -> Answers:  # type: ignore[override]  # a task's own parameters
        """Return the best answers of one question."""
        scores = model_outputs["logits"][0].float().sigmoid()
        best = scores.topk(min(top_k, len(scores)))
        names = self.model.config.id2label
        assert names is not None  # see `__init__`
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [{"answer": names[index], "score": score} for score, index in pairs]

    def save_pretrained(self, save_directory: str | PathLike, *, with_code: bool = False, **kwargs: Any) -> None:
        """Write model and processor.

        Args:
            save_directory: the folder.
            with_code: also this file, so that `pipeline("visual-question-answering", model=folder,
                trust_remote_code=True)` finds it.
            **kwargs: for the model's `save_pretrained`.
        """
        config = self.model.config
        if with_code:
            impl = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
            pt = ["AutoModelForVisualQuestionAnswering"]
            config.custom_pipelines = {REMOVED_TASK: {"impl": impl, "pt": pt, "type": "multimodal"}}
        try:
            self.model.save_pretrained(save_directory, **kwargs)
            self.processor.save_pretrained(save_directory)
            if with_code:
                custom_object_save(self, save_directory)
        finally:
            if with_code:
                del config.custom_pipelines


def _is_one(image: object) -> bool:
    """Return whether it is one image: of arrays, those of (H, W), (H, W, C) or (C, H, W)."""
    return isinstance(image, ImageInput) or getattr(image, "ndim", None) in (2, 3)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


__all__ = ["REMOVED_TASK", "TASK", "MLMMVisualQuestionAnsweringPipeline"]
