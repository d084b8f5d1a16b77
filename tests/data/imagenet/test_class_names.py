from wenlan.data.imagenet.class_names import read_class_names


def test_every_class_has_a_name_in_both_languages_in_the_order_of_the_classes():
    names = read_class_names()
    assert {language: len(of_it) for language, of_it in names.items()} == {"zh": 1000, "en": 1000}
    assert all(name and name == name.strip() for of_it in names.values() for name in of_it)
    known = {0: ("丁鲷", "tench"), 292: ("老虎", "tiger"), 817: ("跑车", "sports car"), 999: ("卫生纸", "toilet paper")}
    assert {number: (names["zh"][number], names["en"][number]) for number in known} == known
