import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from wenlan.data import MLMMBatches, MLMMExamples
from wenlan.data.mlmm.batch_sampler import CurriculumStage
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining
from wenlan.processing import MLMMPretrainingCollator, MLMMProcessor

SMALL = {"token_budget": 400, "bucket_size": 32, "multiple": 4}


def keys(draw):
    return draw.corpus, draw.language, draw.caption


@pytest.fixture
def corpora(make_corpus):
    """A strong corpus in two languages, and a weak one."""
    return [make_corpus(size=30), make_corpus(size=20, languages=("zh",), tasks={"itm": 9}, name="weak")]


def test_all_batches_of_a_step_have_one_task_and_one_corpus(corpora):
    batches = list(MLMMBatches(corpora, num_steps=30, batches_per_step=3, **SMALL))
    assert len(batches) == 90
    for step in range(30):
        assert len({(one.corpus, one.task) for batch in batches[3 * step : 3 * step + 3] for one in batch}) == 1


def test_tasks_are_drawn_by_their_weights(corpora):
    sampler = MLMMBatches(corpora, num_steps=1, **SMALL)
    counts = Counter(sampler.draw_task(step) for step in range(6000))
    weights = {(0, "itm"): 9, (0, "mlm"): 12, (0, "mrfr"): 6, (0, "mrc"): 6, (1, "itm"): 9}
    assert set(counts) == set(weights)
    for choice, weight in weights.items():
        assert counts[choice] / 6000 == pytest.approx(weight / 42, abs=0.025)  # four standard errors


def test_batches_fit_into_the_budget_and_hold_multiples(corpora):
    batches = list(MLMMBatches(corpora, num_steps=60, **SMALL))
    assert max(len(batch) * max(one.length for one in batch) for batch in batches) <= 400
    assert {len(batch) % 4 for batch in batches} <= {0, 2}  # 2: what remains of 30 captions
    assert len({len(batch) for batch in batches}) > 1


def test_examples_of_like_length_share_a_batch(make_corpus):
    def padding(**options):
        batches = MLMMBatches([make_corpus(size=200)], num_steps=40, token_budget=400, **options)
        real = padded = 0
        for batch in batches:
            real += sum(one.length for one in batch)
            padded += len(batch) * max(one.length for one in batch)
        return 1 - real / padded

    assert padding(bucket_size=400) < 0.05
    assert padding(bucket_size=8) > 0.1


def test_every_caption_is_seen_once_a_pass(make_corpus):
    corpus = make_corpus(size=32, languages=("en",), tasks={"mlm": 1})
    batches = iter(MLMMBatches([corpus], num_steps=10_000, token_budget=400, bucket_size=32, multiple=4))
    seen = []
    while len(seen) < 64:
        seen += next(batches)
    captions = [one.caption for one in seen]
    assert sorted(captions[:32]) == sorted(captions[32:]) == list(range(32))
    assert captions[:32] != captions[32:]
    assert len({one.seed for one in seen}) == 64  # masked otherwise in the second pass


def test_wrong_images_are_others_in_the_next_pass(make_corpus):
    corpus = make_corpus(size=32, languages=("en",), tasks={"itm": 1})
    batches = MLMMBatches([corpus], num_steps=60, token_budget=400, bucket_size=32, multiple=4)
    draws = list(itertools.chain.from_iterable(batches))
    images = {(one.caption, one.image) for one in draws[:32]}
    assert images != {(one.caption, one.image) for one in draws[32:64]}


@pytest.mark.parametrize(("temperature", "fraction"), [(1.0, 0.8), (float("inf"), 0.5), (2.0, 2 / 3)])
def test_languages_are_drawn_as_the_temperature_says(make_image, small_tokenizer, temperature, fraction):
    from wenlan.data import MLMMCorpus

    rows = [make_image(number) for number in range(10)]
    texts = [f"a {number}" for number in range(80)]
    captions = {"en": ([number % 10 for number in range(80)], texts), "de": ([3] * 20, texts[:20])}
    corpus = MLMMCorpus(rows, captions, small_tokenizer, tasks={"mlm": 1})
    batches = MLMMBatches([corpus], num_steps=400, language_temperature=temperature, **SMALL)
    counts = Counter(one.language for batch in batches for one in batch)
    assert counts["en"] / counts.total() == pytest.approx(fraction, abs=0.03)


def test_same_seed_gives_the_same_batches_and_another_seed_others(corpora):
    first, again, other = (list(MLMMBatches(corpora, num_steps=20, seed=seed, **SMALL)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_longer_training_begins_like_a_shorter_one(corpora):
    short, long = (list(MLMMBatches(corpora, num_steps=steps, batches_per_step=2, **SMALL)) for steps in (10, 25))
    assert long[:20] == short


def test_two_ranks_share_out_what_one_would_see(corpora):
    batches = MLMMBatches(corpora, num_steps=10, batches_per_step=4, **SMALL)
    loader = DataLoader(MLMMExamples(corpora), batch_sampler=batches, collate_fn=list)
    ranks = [
        list(prepare_data_loader(loader, num_processes=2, process_index=rank, put_on_device=False)) for rank in (0, 1)
    ]
    assert [len(rank) for rank in ranks] == [20, 20]
    one = list(prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False))
    assert [len(batch) for batch in itertools.chain(*zip(*ranks, strict=True))] == [len(batch) for batch in one]
    seeds = [[row["seed"] for row in batch] for batch in itertools.chain(*zip(*ranks, strict=True))]
    assert seeds == [[row["seed"] for row in batch] for batch in one]
    for step in range(10):
        tasks = {row["task"] for rank in ranks for batch in rank[2 * step : 2 * step + 2] for row in batch}
        assert len(tasks) == 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_skipping_batches_goes_on_where_the_run_was(corpora, ranks):
    batches = MLMMBatches(corpora, num_steps=10, batches_per_step=2, **SMALL)
    loader = DataLoader(MLMMExamples(corpora), batch_sampler=batches, collate_fn=list)
    prepared = prepare_data_loader(loader, num_processes=ranks, process_index=ranks - 1, put_on_device=False)
    whole = [[row["seed"] for row in batch] for batch in prepared]
    rest = [[row["seed"] for row in batch] for batch in skip_first_batches(prepared, 6 // ranks)]
    assert rest == whole[6 // ranks :]


class Batches(Trainer):
    """What a training script overrides, and what the model was given."""

    batches: MLMMBatches

    def get_train_dataloader(self):
        loader = DataLoader(
            self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator, num_workers=0
        )
        return self.accelerator.prepare(loader)

    def training_step(self, model, inputs, *args, **kwargs):
        self.seen.append((inputs["task"], inputs["input_ids"].tolist()))
        return super().training_step(model, inputs, *args, **kwargs)


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def train(corpora, tokenizer, folder, *, stop=None, resume=None):
    torch.manual_seed(0)
    config = MLMMConfig(
        vocab_size=8000,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        region_feature_dim=12,
        num_region_classes=5,
    )
    args = TrainingArguments(
        str(folder), max_steps=8, gradient_accumulation_steps=2, use_cpu=True, save_strategy="no", disable_tqdm=True,
        remove_unused_columns=False, logging_steps=1, learning_rate=1e-3,
    )  # fmt: skip
    trainer = Batches(
        MLMMForPreTraining(config),
        args,
        train_dataset=MLMMExamples(corpora),
        data_collator=MLMMPretrainingCollator(MLMMProcessor(tokenizer)),
        callbacks=[StopAt(stop)] if stop else [],
    )
    trainer.batches = MLMMBatches(corpora, num_steps=8, batches_per_step=2, **SMALL)
    trainer.seen = []
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_trainer_resumes_exactly(corpora, small_tokenizer, tmp_path):
    whole = train(corpora, small_tokenizer, tmp_path / "whole")
    first = train(corpora, small_tokenizer, tmp_path / "cut", stop=3)
    rest = train(corpora, small_tokenizer, tmp_path / "cut", resume=str(tmp_path / "cut" / "checkpoint-3"))
    assert whole.state.global_step == rest.state.global_step == 8
    assert len(whole.seen) == 16
    assert first.seen + rest.seen == whole.seen
    assert len({task for task, _ in whole.seen}) > 1
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, rest.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "'num_steps': 0"),
        ({"token_budget": 40}, r"does not hold 4 examples of \d+ tokens and regions, the longest of corpus; give \d+"),
        ({"language_temperature": 0}, "language_temperature is 0"),
        ({"corpora": []}, "no corpus"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_first_batch(corpora, changes, message):
    settings = {"corpora": corpora, "num_steps": 1} | SMALL | changes
    with pytest.raises(ValueError, match=message):
        MLMMBatches(**settings)


def test_large_corpus_is_drawn_from_without_reading_it():
    """A million captions: only numbers are shuffled."""
    from wenlan.data.mlmm.batch_sampler import _Shuffled

    shuffled = _Shuffled(1_000_000, [0])
    taken = np.concatenate([shuffled.take(300_000) for _ in range(4)])
    assert len(np.unique(taken[:1_000_000])) == 1_000_000
    assert taken.dtype == np.uint32


def test_stages_have_their_tasks_and_languages(make_corpus):
    corpus = make_corpus(size=30, languages=("en", "zh", "de"))
    curriculum = [CurriculumStage(10, tasks=["mlm"], languages=["en"]), CurriculumStage(30, languages=("en", "zh"))]
    batches = list(MLMMBatches([corpus], num_steps=100, batches_per_step=2, curriculum=curriculum, **SMALL))
    stages = batches[:20], batches[20:80], batches[80:]
    seen = [{(one.task, one.language) for batch in stage for one in batch} for stage in stages]
    tasks = ("itm", "mlm", "mrfr", "mrc")
    assert seen == [
        {("mlm", "en")},
        set(itertools.product(tasks, ("en", "zh"))),
        set(itertools.product(tasks, ("en", "zh", "de"))),
    ]


def test_stages_leave_out_corpora_without_their_tasks_or_languages(corpora):
    def used(**stage):
        batches = MLMMBatches(corpora, num_steps=30, curriculum=[CurriculumStage(30, **stage)], **SMALL)
        return {one.corpus for batch in batches for one in batch}

    assert used(tasks=["itm"]) == used(languages=["en", "zh"]) == {0, 1}
    assert used(tasks=["mlm"]) == used(languages=["de"]) == {0}
    assert used(languages=["zh"]) == {1}


def test_stage_that_no_corpus_has_is_refused(make_corpus):
    corpus = make_corpus(size=20, languages=("en", "zh"), tasks={"itm": 1, "mlm": 1})
    for stage in (CurriculumStage(2, tasks=["mrc"]), CurriculumStage(2, languages=["ko"])):
        with pytest.raises(ValueError, match="No corpus has the tasks and languages of this stage"):
            MLMMBatches([corpus], num_steps=5, curriculum=[stage], **SMALL)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"steps": 0}, "has 0 steps"),
        ({"steps": 5, "tasks": ["mlm", "vqa"]}, r"unknown tasks \['vqa'\]; there are itm, mlm, mrfr, mrc"),
        ({"steps": 5, "languages": ["en", "xx"]}, "Unknown language 'xx'"),
    ],
)
def test_impossible_stages_are_refused(stage, message):
    with pytest.raises(ValueError, match=message):
        CurriculumStage(**stage)


def test_stage_may_name_one_task_and_one_language_without_a_list():
    assert CurriculumStage(5, tasks="mlm", languages="en") == CurriculumStage(5, tasks=["mlm"], languages=["en"])
