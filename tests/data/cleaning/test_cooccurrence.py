from wenlan.data.cleaning.cooccurrence import PairCounter
from wenlan.data.files.hashing import fingerprint

TEXT = "图片来自网络"


def rules_for(pairs):
    counter = PairCounter()
    for caption, image in pairs:
        counter.add(fingerprint(caption.encode()), image)
    return counter.rules(max_images=10, kept_images=1, max_texts=10, kept_texts=3)


def test_text_beside_eleven_images_keeps_one():
    rules = rules_for([(TEXT, image) for image in range(11)])
    assert [rules.text_fault(TEXT, image) is None for image in range(11)].count(True) == 1


def test_text_beside_ten_images_keeps_all_however_often_it_occurs():
    rules = rules_for([(TEXT, image) for image in range(10)] * 5)
    assert all(rules.text_fault(TEXT, image) is None for image in range(10))


def test_image_beside_eleven_texts_keeps_three():
    texts = [f"第{i}张" for i in range(11)]
    rules = rules_for([(text, 7) for text in texts] + [(texts[0], 8)])
    assert [rules.image_fault(text, 7) is None for text in texts].count(True) == 3
    assert rules.image_fault(texts[0], 8) is None


def test_what_is_kept_does_not_depend_on_the_order():
    pairs = [(TEXT, image) for image in range(30)] + [(f"第{i}张", 5) for i in range(30)]
    forwards, backwards = rules_for(pairs), rules_for(pairs[::-1])
    assert forwards.images_of_text == backwards.images_of_text
    assert forwards.texts_of_image == backwards.texts_of_image
    assert (len(forwards.images_of_text), len(forwards.texts_of_image)) == (1, 1)


def test_only_the_first_of_equal_pairs_passes():
    rules = rules_for([("甲", 1), ("甲", 2), ("甲", 1), ("甲", 1)])
    answers = [rules.repetition(text, image) is None for text, image in [("甲", 1), ("甲", 2), ("甲", 1), ("甲", 1)]]
    assert answers == [True, True, False, False]


def test_no_pairs_make_no_rules():
    rules = rules_for([])
    assert rules.text_fault(TEXT, 1) is rules.image_fault(TEXT, 1) is rules.repetition(TEXT, 1) is None
