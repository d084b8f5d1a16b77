import torch
from mlmm_corpus_files import INFO, region_row
from wenlan.evaluation.mlmm_pair_scores import score_pairs
from wenlan.modeling_mlmm import MLMMConfig, MLMMForImageTextRetrieval
from wenlan.processing import MLMMProcessor, load_small_tokenizer

TEXTS = ["a lion, a fox and a key", "鲸鱼", "ein Löwe"]
PICTURES = [region_row(str(number), [number] * count) for number, count in enumerate((3, 1, 2, 3))]


def test_each_text_is_scored_with_each_picture_as_one_by_one():
    processor = MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    config = MLMMConfig(vocab_size=len(processor.tokenizer), region_feature_dim=INFO.feature_dim, **sizes)
    model = MLMMForImageTextRetrieval(config).eval()
    torch.nn.init.normal_(model.rank_head.weight)
    scores = score_pairs(model, processor, TEXTS, PICTURES, batch_size=3)
    assert scores.shape == (3, 4)
    for row, text in enumerate(TEXTS):
        for column, picture in enumerate(PICTURES):
            expected = model(**processor(text=text, regions=picture)).scores[0]
            torch.testing.assert_close(scores[row, column], expected, atol=1e-5, rtol=0)
