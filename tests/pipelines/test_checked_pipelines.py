import logging
import re
import shutil

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from PIL import Image
from transformers import pipeline
from typer.testing import CliRunner
from wenlan.modeling_brivl import BriVLConfig
from wenlan.pipelines.checked_pipelines import check_template, distinct_labels

from wenlan.cli.main import app

LABELS = ["一只猫", "红色的苹果", "雪山和湖"]
TASK = "zero-shot-image-classification"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "brivl"
    save_tiny_folder(folder)
    Image.new("RGB", (40, 30), "red").save(folder.parent / "a.png")
    return folder


@pytest.fixture(scope="module")
def image(folder):
    return str(folder.parent / "a.png")


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline(TASK, model=str(folder))


def scores(result):
    return {entry["label"]: entry["score"] for entry in result}


def zero_shot(folder, image, *options):
    return CliRunner().invoke(app, ["zero-shot", str(folder), image, *options])


def test_template_of_the_model_stands_in_for_the_english_one(classify, image):
    default = scores(classify(image, candidate_labels=LABELS))
    assert default == scores(classify(image, candidate_labels=LABELS, hypothesis_template="{}"))
    english = scores(classify(image, candidate_labels=LABELS, hypothesis_template="This is a photo of {}."))
    assert default != english


def test_template_travels_with_the_model(folder, image, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "brivl")
    config = BriVLConfig.from_pretrained(copied)
    config.hypothesis_template = "红色的{}和湖"
    config.save_pretrained(copied)
    found = scores(pipeline(TASK, model=str(copied))(image, candidate_labels=LABELS))
    assert found == scores(
        pipeline(TASK, model=str(folder))(image, candidate_labels=LABELS, hypothesis_template="红色的{}和湖")
    )
    best, score = max(found.items(), key=lambda item: item[1])
    assert f"{best} {score:.1%}" in zero_shot(copied, image, "--labels", ",".join(LABELS)).stdout


NO_PLACE = ["一张图片", "", "{{}}", "一张{{}}图片", "{}{}", "猫{}狗{}", "{", "}", "{}}"]
OTHER_PLACE = ["{name}", "{0}", "{0.__class__}", "{[0]}", "{:>5}", "{!r}"]


@pytest.mark.parametrize("template", NO_PLACE + OTHER_PLACE)
def test_template_without_one_plain_place_is_refused(classify, folder, image, template):
    with pytest.raises(ValueError, match=r"must have one \{\} for the label"):
        classify(image, candidate_labels=LABELS, hypothesis_template=template)
    result = zero_shot(folder, image, "--labels", "猫,狗", "--template", template)
    assert result.exit_code == 1
    assert "such as '一张{}的图片'" in result.output


def test_template_with_one_place_is_taken():
    for template in ("{}", "一张{}的图片。", "a {}"):
        check_template(template)


@pytest.mark.parametrize("separator", ["、", "，", ",", "；", ";", "|", "\n", " , ", "､"])
def test_labels_are_separated_as_people_write_them(folder, image, separator):
    found = zero_shot(folder, image, "--labels", separator.join(LABELS))
    assert found.exit_code == 0, found.output
    assert set(re.findall(r"(\S+) [\d.]+%", found.stdout)) == set(LABELS)


@pytest.mark.parametrize("labels", ["猫", "猫 狗", "猫,猫", ",,", "", "猫, ,"])
def test_fewer_than_two_labels_are_no_choice(folder, image, labels):
    result = zero_shot(folder, image, "--labels", labels)
    assert result.exit_code == 1
    assert "Give two labels or more" in result.output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_may_be_the_lines_of_a_file(folder, image, tmp_path, caplog, encoding):
    (tmp_path / "names.txt").write_bytes("猫\r\n\r\n 狗 \n猫\n湖,雪".encode(encoding))
    result = zero_shot(folder, image, "--labels", tmp_path / "names.txt")
    assert result.exit_code == 0, result.output
    assert all(label in result.stdout for label in ("猫", "狗", "湖,雪"))
    assert "2 labels are blank or there twice" in caplog.text
    (tmp_path / "gbk.txt").write_bytes("苹果\n小狗\n湖泊\n雪山".encode("gb18030"))
    assert "is not UTF-8" in zero_shot(folder, image, "--labels", tmp_path / "gbk.txt").output


def test_repeated_and_empty_labels_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert distinct_labels(["猫", " 猫", "", "狗"]) == ["猫", "狗"]
    assert "2 labels are blank or there twice" in caplog.text


@pytest.mark.parametrize("blank", ["\u200b", "\u3164", "\ue000", "\ufe0f"])
def test_label_that_cannot_be_read_is_named(classify, folder, image, blank):
    with pytest.raises(ValueError, match="Text 1 is blank"):
        classify(image, candidate_labels=["猫", blank])
    assert "Text 1 is blank" in zero_shot(folder, image, "--labels", f"猫,{blank},狗").output


def test_long_labels_are_cut_without_a_word_from_inside(classify, folder, image, caplog):
    result = classify(image, candidate_labels=["苹果" * 200, "猫"])
    assert sum(scores(result).values()) == pytest.approx(1, abs=1e-5)
    assert "Token indices" not in caplog.text
    found = zero_shot(folder, image, "--labels", f"{'苹果' * 200},猫")
    assert "are longer than 11 tokens" in caplog.text
    assert found.exit_code == 0


@pytest.mark.parametrize("task", [TASK, "feature-extraction"])
def test_pipelines_refuse_a_model_without_its_vocabulary(folder, tmp_path, task):
    copied = shutil.copytree(folder, tmp_path / "brivl")
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="has no vocabulary"):
        pipeline(task, model=str(copied))


def test_models_of_others_keep_their_pipeline(tmp_path):
    from transformers import BertConfig, BertModel, CLIPConfig, CLIPImageProcessor, CLIPModel
    from wenlan.processing import build_character_tokenizer

    tokenizer = build_character_tokenizer(LABELS, max_length=16)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer) + 500, **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    assert pipeline("feature-extraction", model=str(tmp_path / "bert"))("一只猫")
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 77, **sizes}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 16, **sizes}))
    tools = {"tokenizer": tokenizer, "image_processor": CLIPImageProcessor(size=32, crop_size=32)}
    classify = pipeline(TASK, model=clip.eval(), **tools)
    image = Image.new("RGB", (40, 30), "red")
    english = classify(image, candidate_labels=LABELS, hypothesis_template="This is a photo of {}.")
    assert classify(image, candidate_labels=LABELS) == english
