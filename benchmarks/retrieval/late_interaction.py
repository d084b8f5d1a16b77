"""Is token-wise late interaction better than one embedding, where an image holds several things?

    wenlan data scenes --output runs/scenes --split pretrain --split test
    python benchmarks/retrieval/late_interaction.py                              # 6 runs of the recipe brivl_late
    python benchmarks/retrieval/late_interaction.py --seeds 1 --steps 5 --scenes 30    # a smoke run
    python benchmarks/retrieval/late_interaction.py --mlmm runs/mlmm --regions runs/scene_regions/test

With every seed the recipe trains twice for the same steps on the same pairs in the same order: with late interaction
and without. What the frozen backbones make of images and texts is computed once for all runs. Both are evaluated on
scenes of the split `test` with two or more named things, in captions that name all of them; no setting was chosen on
these. The first k of global -> late come from the embeddings of the model with late interaction, and MLMM re-ranks the
first of those.

Pointing: the cell whose token is nearest to those of a word, of a thing that the image holds once, is a hit if its
centre lies in the box of that thing. Chance is the fraction of cells of which that is true; the control are words of
another scene.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Trainer, set_seed
from wenlan.analysis.region_attention.words import Span, find_names
from wenlan.data import read_regions
from wenlan.data.emoji_scenes.dataset import generate_scenes
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.evaluation import retrieval_recalls
from wenlan.modeling_brivl import BriVLModel, MomentumQueueCallback, late_interaction_scores
from wenlan.modeling_brivl.late_interaction import project_tokens
from wenlan.modeling_brivl.region_pooling import grid_boxes
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.pipelines.pair_scoring import PairScorer
from wenlan.processing import BriVLProcessor, ContrastiveCollator, MLMMProcessor
from wenlan.training.brivl.data import load_pairs
from wenlan.training.brivl.feature_cache import CachedFeatureMaps
from wenlan.training.brivl.model import build_model
from wenlan.training.brivl.text_cache import CachedTextStates, TextStates
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_brivl import ARGUMENTS

GALLERY = 10_000  # images that a query is timed with: those of the test again and again


@dataclass
class TestScenes:
    """Scenes with two or more named things, and what the frozen backbones make of them.

    Attributes:
        names: of the images.
        texts: one of each scene.
        words: of each text, the places of the names of things that are there once.
        boxes: of these things, (x1, y1, x2, y2) in fractions of the image.
        maps: (n, c, h, w).
        ids, mask: (n, l) of the texts.
        states: (n, l, e).
        offsets: (n, l) places of the tokens in the texts.
    """

    names: list[str]
    texts: list[str]
    words: list[list[Span]]
    boxes: list[list[tuple[float, ...]]]
    maps: Tensor
    ids: Tensor
    mask: Tensor
    states: Tensor
    offsets: list[list[Span]]

    @classmethod
    @torch.inference_mode()
    def draw(cls, count: int, model: BriVLModel, processor: BriVLProcessor, language: str) -> "TestScenes":
        """Return those of the first `count` scenes of the split `test` that name two things or more."""
        names, texts, words, boxes, maps = [], [], [], [], []
        for scene in generate_scenes("test", count):
            things = Counter(one["category_id"] for one in scene["objects"])
            if len(things) < 2:
                continue
            text, size = scene["captions"][language][0], scene["image"].width
            places = find_names(text, [CLASS_NAMES[language][one] for one in things])
            single = [one for one in scene["objects"] if things[one["category_id"]] == 1]
            names.append(f"{scene['image_id']:012d}.png")
            texts.append(text)
            words.append([places[CLASS_NAMES[language][one["category_id"]]] for one in single])
            boxes.append([tuple(side / size for side in one["bbox"]) for one in single])
            pixels = processor(images=[scene["image"]], return_tensors="pt")["pixel_values"]
            maps.append(model.vision_model.backbone.forward_features(pixels))
        encoded = processor.tokenizer(texts, return_offsets_mapping=True)
        inputs = processor(text=texts, return_tensors="pt")
        parts = zip(inputs["input_ids"].split(64), inputs["attention_mask"].split(64), strict=True)
        states = torch.cat([model.text_model.run_trunk(*part) for part in parts])
        tokens = inputs["input_ids"], inputs["attention_mask"], states
        return cls(names, texts, words, boxes, torch.cat(maps), *tokens, encoded["offset_mapping"])


@dataclass
class Embedded:
    """What a model makes of n scenes and their n texts; tokens only with late interaction.

    Attributes:
        images, texts: (n, d).
        image_tokens, text_tokens: (n, r, c) and (n, l, c).
        text_mask: (n, l).
    """

    images: Tensor
    texts: Tensor
    image_tokens: Tensor | None
    text_tokens: Tensor | None
    text_mask: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, model: BriVLModel, scenes: TestScenes) -> "Embedded":
        """Return it from what the frozen backbones made of the scenes."""
        image = model.eval().vision_model(feature_map=scenes.maps)
        text = model.text_model(scenes.ids, scenes.mask, trunk_states=scenes.states)
        heads, tokens = model.late_heads, (None, None)
        if heads is not None:
            found = (heads.image, image.last_hidden_state), (heads.text, text.last_hidden_state)
            tokens = tuple(project_tokens(head, states).half() for head, states in found)
        rows = (F.normalize(one.pooler_output, dim=-1) for one in (image, text))
        return cls(*rows, *tokens, scenes.mask[:, : text.last_hidden_state.shape[1]])

    def global_scores(self) -> Tensor:
        """Return (texts, images) cosines."""
        return self.texts @ self.images.T

    def late_scores(self) -> Tensor:
        """Return (texts, images) scores of the tokens."""
        seen = torch.ones(self.image_tokens.shape[:2])
        return late_interaction_scores(self.image_tokens, seen, self.text_tokens, self.text_mask).T


def train(recipe: tuple, pairs: CachedTextStates, first: BriVLModel, seed: int, *, late: bool) -> tuple:
    """Train once, with the text encoder of the first model; return the model and what the Trainer logged."""
    set_seed(seed)
    model_args, args = recipe[0], recipe[-1]
    args.seed = pairs.pairs.pairs.seed = seed
    model_args.model_config["late_interaction"], model_args.standardize_text_states = late, False
    model, processor = build_model(model_args, [])
    model.brivl.text_model.backbone.load_state_dict(first.text_model.backbone.state_dict())
    collator = ContrastiveCollator(processor)
    trainer = Trainer(model, args, train_dataset=pairs, data_collator=collator, callbacks=[MomentumQueueCallback()])
    trainer.train()
    return model.brivl, [one for one in trainer.state.log_history if "loss" in one]


def top(scores: Tensor, k: int, axis: int) -> Tensor:
    """Return which scores are among the k greatest along an axis."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(axis, scores.topk(k, dim=axis).indices, True)


def rerank(scores: Tensor, better: Tensor, k: int, axis: int) -> Tensor:
    """Return the scores of the next stage for the k greatest along an axis, and lower ones in the old order."""
    chosen = top(scores, k, axis)
    return better.where(chosen, scores - scores.max() + better[chosen].min() - 1)


def recalls(scores: Tensor, *stages: tuple[Tensor, int]) -> dict[str, float]:
    """Return R@1 in percent, text to image and image to text; a stage has its scores and how many it re-ranks."""
    found = {}
    for name, axis in (("t2i", 1), ("i2t", 0)):
        ranked = scores
        for better, k in stages:
            ranked = rerank(ranked, better, k, axis)
        found[name] = retrieval_recalls(ranked.double().numpy(), range(len(ranked)))[f"{name}_R@1"]
    return found


@torch.inference_mode()
def mlmm_scores(args: argparse.Namespace, scenes: TestScenes, first: Tensor, second: Tensor) -> Tensor:
    """Return (texts, images): MLMM's scores for the best of the candidates in either direction, -inf elsewhere."""
    model = MLMMForImageTextRetrieval.from_pretrained(args.mlmm).eval()
    processor, rows = MLMMProcessor.from_pretrained(args.mlmm), read_regions(args.regions)
    place = {name: number for number, name in enumerate(rows["image_id"])}
    needed = top(rerank(first, second, args.k, 0), args.mlmm_k, 0) | top(
        rerank(first, second, args.k, 1), args.mlmm_k, 1
    )
    scores = torch.full_like(first, -torch.inf)
    for column, name in enumerate(scenes.names):
        wanted = needed[:, column].nonzero().flatten()
        scorer = PairScorer(model, processor, [rows[place[name]]])
        scores[wanted, column] = scorer([scenes.texts[row] for row in wanted])[:, 0]
    return scores


def point(embedded: Embedded, scenes: TestScenes, cells: Tensor, *, shift: int = 0) -> dict[str, float]:
    """Return the accuracy of pointing, its chance and the number of words.

    Args:
        embedded: with tokens.
        scenes: that they are of.
        cells: (r, 4) of the image's tokens, in fractions of the image; the last is the whole.
        shift: as a control, the words are those of the scene that is so many further on.
    """
    centres = (cells[:-1, :2] + cells[:-1, 2:]) / 2
    hits, chances = [], []
    for row, boxes in enumerate(scenes.boxes):
        other = (row + shift) % len(scenes.boxes)
        for place, (x1, y1, x2, y2) in enumerate(boxes):
            inside = (centres > torch.tensor([x1, y1])).all(dim=1) & (centres < torch.tensor([x2, y2])).all(dim=1)
            if not inside.any() or not scenes.words[other]:
                continue
            first, last = scenes.words[other][place % len(scenes.words[other])]
            pieces = [at for at, (start, end) in enumerate(scenes.offsets[other]) if start < last and first < end]
            word = embedded.text_tokens[other, pieces].float().mean(dim=0)
            hits.append(bool(inside[(embedded.image_tokens[row, :-1].float() @ word).argmax()]))
            chances.append(float(inside.float().mean()))
    return {"accuracy": statistics.mean(hits), "chance": statistics.mean(chances), "words": len(hits)}


@torch.inference_mode()
def time_queries(embedded: Embedded, k: int, queries: int = 50) -> dict[str, float]:
    """Return the median milliseconds of a text with `GALLERY` images, embedding it left aside, one thread."""
    at = torch.arange(GALLERY) % len(embedded.images)
    images, tokens = embedded.images[at].half().float(), embedded.image_tokens[at]
    seen, best = torch.ones(tokens.shape[:2]), torch.arange(GALLERY)
    seconds: dict[str, list[float]] = {"global": [], "late": [], "global -> late": []}
    for query in range(queries):
        text = embedded.texts[query % len(embedded.texts)]
        words, mask = (x[query % len(x)][None] for x in (embedded.text_tokens, embedded.text_mask))
        for name, times in seconds.items():
            started = time.perf_counter()
            if name != "late":
                best = (images @ text).topk(k).indices
            if name != "global":
                chosen = slice(None) if name == "late" else best
                late_interaction_scores(tokens[chosen], seen[chosen], words, mask).topk(k, dim=0)
            times.append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(times) for name, times in seconds.items()}


def run(args: argparse.Namespace) -> dict:
    """Train and evaluate all; return the metrics."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"data": args.data, "output_dir": folder, "max_steps": args.steps, "save_strategy": "no"}
        options |= {"language": args.language, "disable_tqdm": "true", "logging_steps": 20, "use_cpu": "true"}
        recipe = parse_recipe(
            ARGUMENTS, ["brivl_late", *itertools.chain(*((f"--{x}", str(options[x])) for x in options))]
        )
        data, texts = load_pairs(recipe[1], 0)
        model, processor = build_model(recipe[0], texts)
        scenes = TestScenes.draw(args.scenes, model.brivl.eval(), processor, args.language)
        print(f"{len(data)} pairs to train on, {len(scenes.texts)} scenes with two or more named things", flush=True)
        maps = CachedFeatureMaps(data, model.brivl.vision_model, ContrastiveCollator(processor), views=1)
        pairs = CachedTextStates(maps, TextStates(texts, model.brivl.text_model, processor))
        vision, results = model.config.vision_config, []
        cells = grid_boxes(vision.image_size, vision.grid_scales) / vision.image_size
        for seed in range(args.seeds):
            plain, plain_log = train(recipe, pairs, model.brivl, seed, late=False)
            late, late_log = train(recipe, pairs, model.brivl, seed, late=True)
            both = Embedded.of(late, scenes)
            first, second = both.global_scores(), both.late_scores()
            found = {
                "global": recalls(Embedded.of(plain, scenes).global_scores()),
                "global of the late model": recalls(first),
                "late": recalls(second),
                "global -> late": recalls(first, (second, args.k)),
            }
            if args.mlmm:
                third = mlmm_scores(args, scenes, first, second)
                found["global -> late -> MLMM"] = recalls(first, (second, args.k), (third, args.mlmm_k))
            result = {"seed": seed, "recalls": found, "pointing": point(both, scenes, cells)}
            result["pointing of another scene's words"] = point(both, scenes, cells, shift=1)
            result["ms"] = time_queries(both, args.k)
            result["loss"] = {"global": plain_log, "late": late_log}
            results.append(result)
            print(
                {
                    name: result[name]
                    for name in ("seed", "recalls", "pointing", "pointing of another scene's words", "ms")
                },
                flush=True,
            )
    bytes_of = {"global": 2 * both.images.shape[1], "late": 2 * both.image_tokens[0].numel()}
    return {"scenes": len(scenes.texts), "steps": args.steps, "bytes per image": bytes_of, "seeds": results}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="runs/scenes/pretrain/captions_en.jsonl", help="captions to train on")
    parser.add_argument("--language", default="en", help="of the captions to evaluate on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scenes", type=int, default=500, help="of the split test")
    parser.add_argument("--k", type=int, default=20, help="candidates of global -> late")
    parser.add_argument("--mlmm", type=Path, help="an MLMM for retrieval that re-ranks")
    parser.add_argument("--mlmm_k", type=int, default=10, help="candidates that it re-ranks")
    parser.add_argument("--regions", type=Path, help="of the split test, for it")
    parser.add_argument("--output", type=Path, help="a JSON file for the single metrics")
    args = parser.parse_args()
    torch.set_num_threads(1)
    metrics = run(args)
    if args.output:
        args.output.write_text(json.dumps(metrics, indent=1), "utf-8")
    for name in metrics["seeds"][0]["recalls"]:
        for direction in ("t2i", "i2t"):
            values = [one["recalls"][name][direction] for one in metrics["seeds"]]
            print(f"{name:26} {direction} R@1 {np.mean(values):5.1f}  ({', '.join(f'{x:.1f}' for x in values)})")
    print(f"chance {100 / metrics['scenes']:.1f}; bytes an image: {metrics['bytes per image']}")


if __name__ == "__main__":
    sys.exit(main())
