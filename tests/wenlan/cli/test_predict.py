import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.folder import ANSWERS, noise_image, write_detector, write_model
from transformers import pipeline
from typer.testing import CliRunner
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.processing import MLMMProcessor

from wenlan.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["answer", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("answer") / "model")


@pytest.fixture
def image(tmp_path):
    noise_image().save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_best_answers_to_every_question_are_printed_with_their_scores(folder, image):
    questions = ["How many cats are there?", "猫は何匹いますか？"]
    result = run(folder, image, "--question", questions[0], "--question", questions[1], "--top-k", 2)
    assert result.exit_code == 0, result.output
    expected = pipeline("wenlan-vqa", model=str(folder), device="cpu")(image=image, question=questions, top_k=2)
    for line, question, (first, second) in zip(result.stdout.splitlines(), questions, expected, strict=True):
        scores = f"{first['answer']} {first['score']:.1%}  {second['answer']} {second['score']:.1%}"
        assert line == f"{question}  {scores}"
    assert expected[0][0]["answer"] in ANSWERS


def test_detector_can_be_named(folder, image, tmp_path):
    processor = MLMMProcessor.from_pretrained(folder)
    processor.detector = None
    model = write_model(tmp_path / "model")
    processor.save_pretrained(model)
    question = ["--question", "How many?"]
    assert "names no detector" in run(model, image, *question).output
    named = run(model, image, *question, "--detector", write_detector(tmp_path / "detector"))
    assert named.stdout == run(folder, image, *question).stdout != ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cat.png", "--question", " "], "is blank"),
        (["no.png", "--question", "How many?"], "does not exist"),
    ],
)
def test_mistake_is_one_line_and_exit_code_one(folder, image, monkeypatch, arguments, message):
    monkeypatch.chdir(image.parent)
    result = run(folder, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_model_without_answers_is_refused(image, tmp_path):
    result = run(write_model(tmp_path / "model", MLMMForPreTraining), image, "--question", "How many?")
    assert result.exit_code == 1
    assert "weights of MLMMForVisualQuestionAnswering, such as vqa_head" in result.output


def test_images_that_cannot_be_labelled_are_counted_and_compared(image, tmp_path):
    save_tiny_folder(tmp_path / "brivl")
    (tmp_path / "bad.png").write_bytes(b"no image")
    command = ["zero-shot", str(tmp_path / "brivl"), "--labels", "猫,雪", str(image), str(tmp_path / "bad.png")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "left out 1 x not an image" in result.output
    assert CliRunner().invoke(app, [*command, "--max-bad-fraction", "0.5"]).exit_code == 0
    assert CliRunner().invoke(app, [*command[:4], command[-1], "--max-bad-fraction", "1"]).exit_code == 1
    result = CliRunner().invoke(app, [*command, str(image)])  # one among several good ones
    assert (result.exit_code, result.stdout.count("雪")) == (0, 2)


def test_texts_that_the_model_does_not_know_are_warned_of(folder, image, tmp_path, caplog):
    save_tiny_folder(tmp_path / "brivl")
    (tmp_path / "ja.txt").write_text("卵からかえったひよこ\nなべの絵\n", "utf-8")
    options = [str(tmp_path / "ja.txt"), "--output", str(tmp_path / "ja.parquet")]
    result = CliRunner().invoke(app, ["embed", str(tmp_path / "brivl"), *options])
    assert result.exit_code == 0, result.output
    assert "in 100% of the 2 sentences" in caplog.text
    result = CliRunner().invoke(app, ["zero-shot", str(tmp_path / "brivl"), str(image), "--labels", "猫,Katze"])
    assert result.exit_code == 0, result.output
    assert "in 50% of the 2 labels" in caplog.text
    run(folder, image, "--question", "Ἡ γάτα ᚠᚢᚦ")
    assert "in 100% of the 1 questions" in caplog.text
