import pytest
import torch
from helpers.mlmm.corpus_files import INFO, write_corpus
from torch.nn import functional as F
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.processing import MLMMProcessor, load_small_tokenizer
from wenlan.training.mlmm.data import CorpusArguments, load_corpus
from wenlan.training.mlmm.region_names import load_region_names, start_regions_as_names
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_mlmm import ARGUMENTS

NAMES = {language: names[:4] for language, names in CLASS_NAMES.items()}


@pytest.fixture(scope="module")
def processor():
    return MLMMProcessor(load_small_tokenizer(), 64, INFO.feature_dim)


def load(folder, processor, **corpus):
    paths = dict(zip(("regions", "captions"), write_corpus(folder, 40, **corpus), strict=True))
    return load_corpus(paths, CorpusArguments(), processor.tokenizer)[0]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, processor):
    return load(tmp_path_factory.mktemp("corpus"), processor)


@pytest.fixture
def model(processor):
    config = MLMMConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=66,
        region_feature_dim=INFO.feature_dim,
        num_region_classes=INFO.num_classes,
        region_background_index=INFO.background_index,
        normalize_region_features=True,
    )
    torch.manual_seed(0)
    model = MLMMForPreTraining(config).eval()
    torch.nn.init.normal_(model.mlmm.text_embeddings.norm.weight, 1, 0.1)
    return model


def embed_regions(model, corpus):
    """The rows of all regions as they enter the encoder, and their classes."""
    rows = corpus.read_images(corpus.images.tolist(), with_labels=True)
    features = torch.cat([torch.tensor(row["features"]) for row in rows])
    classes = torch.cat([torch.as_tensor(row["class_probs"])[:, :4].argmax(dim=1) for row in rows])
    boxes = torch.rand(len(features), 7)
    with torch.no_grad():
        return model.mlmm.embed_regions(features[None], boxes[None])[0], classes


def embed_names(model, tokenizer, language):
    ids = tokenizer(list(NAMES[language]), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        words = model.mlmm.text_embeddings
        return torch.stack([words(inputs_embeds=words.word_embeddings(torch.tensor([one])))[0].mean(0) for one in ids])


# the words of different languages have nothing in common in a model from nothing, so that their mean is far from each
@pytest.mark.parametrize(("languages", "least"), [(("en",), 0.95), (tuple(NAMES), 0.6)])
def test_regions_enter_nearest_to_the_name_of_their_class(model, processor, corpus, languages, least):
    nearest = start_regions_as_names(model, processor, [corpus], {one: NAMES[one] for one in languages})
    assert nearest > 0.95
    rows, classes = embed_regions(model, corpus)
    rows = F.normalize(rows - rows.mean(dim=0), dim=-1)
    for language in languages:
        names = embed_names(model, processor.tokenizer, language)
        names = F.normalize(names - names.mean(dim=0), dim=-1)
        assert ((rows @ names.T).argmax(dim=1) == classes).float().mean() > least


def test_what_is_fitted_says_when_it_does_not_fit(model, processor, corpus):
    other = [NAMES["en"][one] for one in (0, 0, 0, 0)]
    assert start_regions_as_names(model, processor, [corpus], {"en": other}) < 0.6


def test_nothing_but_the_region_embeddings_changes(model, processor, corpus):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_regions_as_names(model, processor, [corpus], NAMES)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in changed} == {"region_embeddings"}
    assert torch.stack([value.isfinite().all() for value in model.state_dict().values()]).all()


def test_images_with_broken_regions_are_left_out(model, processor, tmp_path):
    broken = load(tmp_path, processor, broken=[f"{number}.png" for number in range(20)])
    assert start_regions_as_names(model, processor, [broken], NAMES) > 0.95


def test_corpus_of_broken_regions_is_refused(model, processor, tmp_path):
    broken = load(tmp_path, processor, broken=[f"{number}.png" for number in range(40)])
    with pytest.raises(ValueError, match="no image of the corpora has regions"):
        start_regions_as_names(model, processor, [broken], NAMES)


def test_blank_name_is_refused(model, processor, corpus):
    with pytest.raises(ValueError, match="class 2 has a blank name"):
        start_regions_as_names(model, processor, [corpus], {"en": ["lion", "fox", " ", "dog"]})


def test_names_of_the_detector_are_those_of_its_configuration(tmp_path):
    RegionDetectorConfig(id2label={0: "lion", 1: "fox", 2: "cat", 3: "dog"}).save_pretrained(tmp_path)
    assert load_region_names("detector", INFO, str(tmp_path)) == {"en": ["lion", "fox", "cat", "dog"]}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("emoji_scenes", "emoji_scenes has 128 names in zh, and the regions have 4 classes without the background"),
        ("detector", "give emoji_scenes, or detector and which one"),
        ("coco", "region_names is 'coco'; give emoji_scenes"),
    ],
)
def test_names_of_other_classes_and_unknown_ones_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        load_region_names(source, INFO, None)


def test_option_that_would_have_no_effect_is_refused(tmp_path):
    with pytest.raises(ValueError, match="region_names"):
        parse_recipe(ARGUMENTS, ["mlmm_tiny", "--region_names", "emoji_scenes", "--output_dir", str(tmp_path)])
