"""A sample of VQA 2.0 in its official files: twelve drawn images under COCO's names, three questions about each."""

import json

from helpers.mlmm.corpus_files import WIDTH, write_regions
from helpers.mlmm.folder import write_detector, write_model
from PIL import Image, ImageDraw
from wenlan.data.vqa.dataset import Questions
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.pipelines.region_extraction import RegionChoice, extract_regions
from wenlan.processing import MLMMProcessor, load_small_tokenizer
from wenlan.training.vqa.arguments import QuestionArguments
from wenlan.training.vqa.data import load_training

COLOURS = ("red", "green", "blue")
THINGS = ("cat", "dog", "cow", "owl")
SHAPES = ("circle", "square")
TRAIN, VAL, TEST = "train2014", "val2014", "test2015"
PROCESSOR = MLMMProcessor(load_small_tokenizer())


def draw(number):
    """One to three equal things on white."""
    image, colour = Image.new("RGB", (96, 64), "white"), COLOURS[number % 3]
    for place in range(number % 3 + 1):
        box = (30 * place + 4, 20, 30 * place + 24, 40)
        getattr(ImageDraw.Draw(image), ("ellipse", "rectangle")[number % 2])(box, fill=colour)
    return image


def ask(number):
    """(question, type of question, type of answer, answers of ten annotators) of an image."""
    colour, shape, count = COLOURS[number % 3], SHAPES[number % 2], number % 3 + 1
    words = ("one", "two", "three")
    return [
        ("What color is it?", "what color is", "other", [colour] * 10),
        (f"Is there a {SHAPES[0]}?", "is there a", "yes/no", ["yes" if shape == SHAPES[0] else "no"] * 10),
        ("How many are there?", "how many", "number", [words[count - 1]] * 6 + [str(count)] * 2 + ["many"] * 2),
    ]


def ask_what(number):
    """The one question about an image of one thing."""
    return [("What is it?", "what is", "other", [THINGS[number % len(THINGS)]] * 10)]


def write_questions(folder, split, numbers, *, annotated=True, ask=ask):
    """Writes the files of a split; returns the path of the questions."""
    header = {"info": {"version": "2.0"}, "license": {}, "data_type": "mscoco", "data_subtype": split}
    questions, annotations = [], []
    for number in numbers:
        for at, (question, question_type, answer_type, answers) in enumerate(ask(number)):
            ids = {"image_id": number, "question_id": number * 1000 + at}
            questions.append({**ids, "question": question})
            given = [
                {"answer": answer, "answer_confidence": "yes", "answer_id": i} for i, answer in enumerate(answers, 1)
            ]
            kinds = {"question_type": question_type, "answer_type": answer_type, "multiple_choice_answer": answers[0]}
            annotations.append({**ids, **kinds, "answers": given})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"v2_OpenEnded_mscoco_{split}_questions.json"
    path.write_text(json.dumps(header | {"task_type": "Open-Ended", "questions": questions}), "utf-8")
    if annotated:
        text = json.dumps(header | {"annotations": annotations})
        (folder / f"v2_mscoco_{split}_annotations.json").write_text(text, "utf-8")
    return str(path)


def write_sample(folder):
    """Writes images, regions, questions and a pre-trained MLMM below a folder; returns the recipe's fields."""
    numbers = {TRAIN: range(1, 7), VAL: range(7, 11), TEST: range(11, 13)}
    model = write_model(folder / "mlmm", MLMMForPreTraining, hidden_dropout_prob=0.1)
    detector = write_detector(folder / "detector")
    for split, some in numbers.items():
        (folder / "images" / split).mkdir(parents=True)
        for number in some:
            draw(number).save(folder / "images" / split / f"COCO_{split}_{number:012d}.jpg")
    choice = RegionChoice(min_boxes=3, max_boxes=6, conf_threshold=0.2)
    extract_regions(folder / "images", folder / "regions", model=str(detector), choice=choice)
    paths = {split: write_questions(folder, split, some, annotated=split != TEST) for split, some in numbers.items()}
    return {
        "init_from": str(model),
        "questions": [paths[TRAIN]],
        "languages": ["en"],
        "regions": [str(folder / "regions")],
        "test_questions": [paths[VAL], paths[TEST]],
        "test_languages": ["en"],
        "test_regions": [str(folder / "regions")],
    }


def write_things(folder, numbers):
    """Writes regions whose features tell what they show, questions about them, and an MLMM; returns the fields."""
    model = write_model(folder / "mlmm", MLMMForPreTraining, region_feature_dim=WIDTH)
    processor = MLMMProcessor.from_pretrained(model)
    processor.region_feature_dim = WIDTH
    processor.save_pretrained(model)
    names = {f"COCO_{split}_{n:012d}.jpg": [n % len(THINGS)] for split, some in numbers.items() for n in some}
    write_regions(folder / "regions", names)
    train, test = (write_questions(folder, split, some, ask=ask_what) for split, some in numbers.items())
    regions = str(folder / "regions")
    return {
        "init_from": str(model),
        "questions": [train],
        "languages": ["en"],
        "regions": [regions],
        "test_questions": [test],
        "test_languages": ["en"],
        "test_regions": [regions],
    }


def write_arguments(folder, numbers=range(10), *, without_regions=(), **changes):
    """Writes a file of training questions and one of test questions; returns the arguments."""
    names = {
        f"COCO_{split}_{number:012d}.jpg": [number % 4]
        for split in (TRAIN, VAL)
        for number in numbers
        if number not in without_regions
    }
    write_regions(folder / "regions", names)
    train, test = (write_questions(folder, split, numbers, ask=ask_what) for split in (TRAIN, VAL))
    files = {"questions": [train], "test_questions": [test]}
    folders = {"regions": [str(folder / "regions")], "test_regions": [str(folder / "regions")]}
    return QuestionArguments(**{**files, **folders, "min_answer_questions": 1, **changes})


def train_on(args):
    """The questions to train on, without a test."""
    return load_training(args, PROCESSOR, Questions([]))


__all__ = [
    "PROCESSOR",
    "TEST",
    "THINGS",
    "TRAIN",
    "VAL",
    "ask_what",
    "draw",
    "train_on",
    "write_arguments",
    "write_questions",
    "write_sample",
    "write_things",
]
