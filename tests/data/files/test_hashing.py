import hashlib

import torch
from wenlan.data.files.hashing import fingerprint, hash_bytes, hash_file, hash_json, hash_text, hash_weights

WEIGHTS = {
    "w": torch.arange(6.0).reshape(2, 3).T,
    "b": torch.tensor(3),
    "h": torch.arange(4.0).bfloat16(),
    "none": torch.zeros(0),
}


def test_short_hashes_are_the_head_of_the_sha_256():
    assert f"{fingerprint(b'abc'):016x}" == hash_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()[:16]
    assert hash_json(["蛙", 1]) == hash_bytes(b'["\\u86d9", 1]')


def test_file_has_its_whole_sha_256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == hash_text("abc") == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_weights_is_the_one_that_files_written_before_hold():
    assert hash_weights("{}", WEIGHTS) == "8a93b2f0dd65d046"
    assert hash_weights("{}", {name: tensor.float() for name, tensor in WEIGHTS.items()}) == "d8538757d4d95e6b"


def test_hash_of_weights_follows_names_values_and_settings_but_not_the_order():
    expected = hash_weights("{}", WEIGHTS)
    assert hash_weights("{}", dict(reversed(WEIGHTS.items()))) == expected
    assert hash_weights("[]", WEIGHTS) != expected
    assert hash_weights("{}", WEIGHTS | {"b": torch.tensor(4)}) != expected
    assert hash_weights("{}", {f"m.{name}": tensor for name, tensor in WEIGHTS.items()}) != expected
