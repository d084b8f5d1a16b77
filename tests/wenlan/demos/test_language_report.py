"""The table of languages, the worst phrases and the image of phrases in a report."""

import html

import numpy as np
import pytest
from PIL import Image
from wenlan.analysis.plots.image_grid import RIGHT, WRONG
from wenlan.data import load_phrases

from wenlan.demos import language_report
from wenlan.demos.html_report import metrics_table, write_report
from wenlan.demos.language_report import draw_phrases, language_table, worst_phrases


def test_the_table_has_each_language_and_chance_below_the_headings(tiny_language):
    headings, zh, cs, chance = language_table(tiny_language)
    assert {len(row) for row in (headings, zh, cs, chance)} == {8}
    metrics = tiny_language["languages"]["cs"]
    assert cs[0] == "cs (100 % of the tokens unknown)"
    phrases = [f"{metrics['phrases'][name]:.1f}" for name in ("hit@1", "hit@10", "P@10")]
    assert cs[headings.index("phrase → image hit@1, hit@10, P@10")] == " / ".join(phrases)
    pair = tiny_language["agreement"]["zh-cs"]
    assert zh[-1] == cs[-1] == f"{pair['names']:.1f} / {pair['phrases']:.1f}"
    assert chance[0] == "chance"
    assert chance[1:3] == ["0.1 / 0.8", "0.1 / 0.8"]
    assert chance[5:7] == ["12.5", "7.1 / 7.1"]


def test_one_language_agrees_with_none(tiny_language):
    alone = {**tiny_language, "languages": {"zh": tiny_language["languages"]["zh"]}, "agreement": {}}
    headings, *rows = language_table(alone)
    assert [row[0].split()[0] for row in rows] == ["zh", "chance"]
    assert {len(row) for row in (headings, *rows)} == {7}
    assert "agrees" not in " ".join(headings)


def test_worst_phrases_are_those_whose_first_right_image_comes_last(tiny_language):
    lines = worst_phrases(tiny_language, 3)
    last = sorted((row["rank"] for row in tiny_language["phrases"]), reverse=True)[:3]
    assert [line.split("number ")[1].split(")")[0] for line in lines] == list(map(str, last))


def test_the_page_shows_table_and_phrases_and_escapes_them(tiny_language, tmp_path):
    held = {"t2i_R@1": 1.0, "t2i_chance_R@1": 0.7, "style": "fluent3d", "candidates": 140}
    row = {**tiny_language["phrases"][0], "text": "<b>"}
    everything = {"test_held/retrieval": held, "language": {**tiny_language, "phrases": [row]}}
    page = write_report(tmp_path, summary="s", results=everything, grids={}, commands="c").read_text("utf-8")
    assert "<th>phrase → image hit@1, hit@10, P@10</th>" in page
    assert f"<td>{html.escape('cs (100 % of the tokens unknown)')}</td>" in page
    assert "&lt;b&gt; (first right image" in page
    assert "<b>" not in page
    assert len(metrics_table(everything)) == 2


def test_right_images_are_green_and_wrong_ones_red(tiny_brivl, tiny_embeddings, monkeypatch):
    drawn = []
    monkeypatch.setattr(language_report, "draw_grid", lambda title, rows: drawn.extend(rows))
    draw_phrases(*tiny_brivl, languages=["zh", "ko"], embeddings=tiny_embeddings)
    names = tiny_embeddings.splits["test"].remove_columns("image")
    phrases = {phrase.texts[language]: phrase for phrase in load_phrases() for language in ("zh", "ko")}
    assert [row[0].lines[0][0] for row in drawn] == ["zh", "ko", "zh", "ko", "zh", "ko", "zh"]
    for words, *found in drawn:
        language = words.lines[0][0]
        phrase = phrases[(" " if language == "ko" else "").join(line for line, _ in words.lines[1:])]
        place = {name: row for row, name in enumerate(names[f"name_{language}"])}
        for cell in found:
            [(name, colour)] = cell.lines
            right = names[place[name]]["concept_id"] in phrase.right
            assert colour == (RIGHT if right else WRONG)
    assert len(drawn[0]) == 5


def test_all_seven_languages_are_drawn(tiny_brivl, tiny_embeddings):
    image = draw_phrases(*tiny_brivl, embeddings=tiny_embeddings)
    assert isinstance(image, Image.Image)
    assert image.height > 7 * 110
    assert (np.asarray(image.convert("L")) < 128).any(axis=1).sum() > 300


def test_a_phrase_that_is_none_is_refused(tiny_brivl):
    with pytest.raises(ValueError, match="'a blue whale' is no phrase"):
        draw_phrases(*tiny_brivl, phrases=["a blue whale"])
