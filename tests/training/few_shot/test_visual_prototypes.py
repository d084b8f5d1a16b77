import pytest
import torch
from helpers.few_shot import CLASSES, save_models, write_images
from torch.nn import functional as F
from wenlan.pipelines.embedding import embed_images, embed_texts
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot import visual_prototypes
from wenlan.training.few_shot.visual_prototypes import (
    check_query,
    embed_pool,
    folder_prototypes,
    imagine_prototypes,
    nearest_images,
    noise_prototypes,
    permute_prototypes,
    retrieve_prototypes,
)


@pytest.fixture(scope="module")
def brivl(tmp_path_factory):
    return open_brivl(save_models(tmp_path_factory.mktemp("models"))["brivl"])


def test_retrieved_prototype_is_the_mean_of_the_nearest_images_of_the_name(brivl, tmp_path):
    pool = embed_pool(*brivl, str(write_images(tmp_path, 10)))
    found = retrieve_prototypes(*brivl, CLASSES, pool)
    scores = embed_texts(*brivl, CLASSES) @ pool.T
    for name in range(3):
        nearest = sorted(range(10), key=lambda image: -scores[name, image])[:8]
        mean = pool[nearest].mean(dim=0)
        torch.testing.assert_close(found[name], mean / mean.norm())


def test_images_of_a_text_are_the_nearest_to_its_embedding(brivl, tmp_path):
    pool = embed_pool(*brivl, str(write_images(tmp_path, 10)))
    texts = F.normalize(pool[[3, 7]] + 0.01, dim=-1)
    found = nearest_images(texts, pool)
    for text in range(2):
        nearest = sorted(range(10), key=lambda image: -(texts[text] @ pool[image]))[:8]
        torch.testing.assert_close(found[text], F.normalize(pool[nearest].mean(dim=0), dim=-1))


def test_pool_of_few_images_is_taken_whole(brivl, tmp_path):
    pool = embed_pool(*brivl, str(write_images(tmp_path, 2)))
    found = retrieve_prototypes(*brivl, CLASSES, pool)
    torch.testing.assert_close(found[0], F.normalize(pool.mean(dim=0), dim=-1))


def test_folder_of_a_class_gives_the_mean_of_its_images(brivl, tmp_path):
    for number, name in enumerate(["天文学", "作物学_农学"]):
        write_images(tmp_path / name, number + 1)
    found = folder_prototypes(*brivl, ["天文学", "作物学/农学"], tmp_path)
    mean = embed_images(*brivl, [tmp_path / "作物学_农学" / f"{number}.png" for number in range(2)]).mean(dim=0)
    torch.testing.assert_close(found[1], mean / mean.norm())


def test_class_without_a_folder_or_an_image_is_an_error(brivl, tmp_path):
    write_images(tmp_path / "天文学", 1)
    with pytest.raises(FileNotFoundError, match="no folder for 2 classes: 作物学, 农业工程"):
        folder_prototypes(*brivl, CLASSES, tmp_path)
    (tmp_path / "作物学").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="作物学"):
        folder_prototypes(*brivl, CLASSES[:2], tmp_path)


def test_imagined_prototype_is_nearer_to_its_own_name_than_noise_and_the_same_each_time(brivl, monkeypatch):
    monkeypatch.setattr(visual_prototypes, "IMAGINE_STEPS", 20)
    names = embed_texts(*brivl, CLASSES)
    found = imagine_prototypes(*brivl, CLASSES, seed=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    noise = noise_prototypes(*brivl, 3, seed=0)
    assert ((found * names).sum(dim=1) > (noise * names).sum(dim=1) + 0.01).all()
    assert torch.equal(imagine_prototypes(*brivl, CLASSES, seed=0), found)


def test_images_imagined_for_every_text_are_refused_in_a_line():
    with pytest.raises(ValueError, match="every text of the test set") as error:
        check_query("imagine")
    assert "\n" not in str(error.value)
    check_query("retrieve")


def test_noise_is_the_same_each_time_and_says_nothing_of_the_class(brivl):
    first, again, other = (noise_prototypes(*brivl, 3, seed=seed) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("count", [2, 3, 67])
def test_permuted_prototypes_are_all_at_another_class(count):
    prototypes = torch.arange(float(count))[:, None]
    found = permute_prototypes(prototypes, seed=3)
    assert sorted(found.flatten().tolist()) == prototypes.flatten().tolist()
    assert (found != prototypes).all()
