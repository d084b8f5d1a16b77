import pytest
from helpers.image_folder import write_image_folder
from wenlan.data import GROUP_NAMES
from wenlan.evaluation.probe.image_sets import class_indices, read_image_sets


def test_classes_are_the_folders(tmp_path):
    folders = [write_image_folder(tmp_path / name, count=2, seed=seed) for seed, name in enumerate(("train", "test"))]
    train, test = read_image_sets(*folders)
    assert train.labels == test.labels == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    assert list(train.open()) == [folders[0] / name / f"{n}.png" for name in ("blue", "green", "red") for n in (0, 1)]
    assert list(train.open()) == list(train.open())


def test_indices_are_of_the_classes_to_train_on():
    classes, train, test = class_indices(["b", "c", "a"], ["c", "b"])
    assert (classes, train.tolist(), test.tolist()) == (["a", "b", "c"], [1, 2, 0], [2, 1])


@pytest.mark.parametrize(("label", "classes"), [("group", 8), ("concept", 1215)])
def test_emoji7_is_trained_on_four_styles_and_evaluated_on_an_unseen_one(label, classes):
    train, test = read_image_sets("emoji7", label=label)
    assert (len(train.labels), len(test.labels)) == (4209, 1198)
    assert len(set(train.labels)) == classes
    assert label != "group" or set(train.labels) == set(GROUP_NAMES["zh"])
    assert next(train.open()).size == (96, 96)


def test_classes_without_training_images_are_named(tmp_path):
    colours = {f"class{number}": (0, 0, 0) for number in range(9)}
    train = write_image_folder(tmp_path / "train", count=1, colours={"class0": (0, 0, 0), "class1": (0, 0, 0)})
    test = write_image_folder(tmp_path / "test", count=1, colours=colours)
    with pytest.raises(
        ValueError, match="of 7 classes of the evaluation: class2, class3, class4, class5, class6 and 2 more"
    ):
        read_image_sets(train, test)


def test_one_class_is_refused(tmp_path):
    one = write_image_folder(tmp_path / "one", colours={"red": (200, 0, 0)})
    with pytest.raises(ValueError, match="images of 1 class to train on, red; a probe needs two"):
        read_image_sets(one, one)
    with pytest.raises(ValueError, match="images of 1 class to evaluate on, red; a probe needs two"):
        read_image_sets(write_image_folder(tmp_path / "three"), one)


@pytest.mark.parametrize("part", ["train", "test"])
def test_folders_of_classes_without_images_are_refused(part, tmp_path):
    folders = {name: write_image_folder(tmp_path / name) for name in ("train", "test")}
    for name in ("grün", ".hidden"):
        (folders[part] / name).mkdir()
    (folders[part] / "grün" / "notes.txt").touch()
    with pytest.raises(ValueError, match=f"{part}: 1 folders of classes have no image: grün. Add some"):
        read_image_sets(*folders.values())


def test_images_outside_of_a_class_are_refused(tmp_path):
    folder = write_image_folder(tmp_path / "train")
    (folder / "red" / "0.png").rename(folder / "0.png")
    with pytest.raises(ValueError, match=r"1 images, such as 0\.png, lie in no folder of a class"):
        read_image_sets(folder, folder)


def test_missing_sets_are_told(tmp_path):
    folder = write_image_folder(tmp_path / "train")
    with pytest.raises(ValueError, match="nothing to evaluate on; give a second folder"):
        read_image_sets(folder)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        read_image_sets(folder, tmp_path / "none")
    with pytest.raises(ValueError, match="emoji7 is evaluated on its own unseen style"):
        read_image_sets("emoji7", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="lists no image"):
        read_image_sets(folder, tmp_path / "empty")
