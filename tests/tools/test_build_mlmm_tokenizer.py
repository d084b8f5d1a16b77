import json
import sys

import pytest
from build_mlmm_tokenizer import cut_at_names, main
from wenlan.processing.tokenizers.unigram import SMALL_TOKENIZER


@pytest.mark.slow
def test_rebuilt_tokenizer_equals_the_shipped_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build_mlmm_tokenizer", "--output", str(tmp_path / "built")])
    main()
    built, shipped = (
        json.loads((folder / "tokenizer.json").read_text("utf-8")) for folder in (tmp_path / "built", SMALL_TOKENIZER)
    )
    assert built == shipped
    assert "8000 tokens" in capsys.readouterr().out


def test_texts_are_cut_where_something_is_named():
    assert cut_at_names("Picture of racing car and key ×3, yellow background.", "en") == [
        "Picture of",
        "and",
        "×3,",
        "background.",
    ]
