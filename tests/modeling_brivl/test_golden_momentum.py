"""Three optimizer steps through `transformers.Trainer` reproduce the trace of the original training forward."""

import copy

import pytest
import torch
from helpers.brivl.golden import our_config, read_golden, tower_state
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback

TENSORS, META = read_golden("momentum")
# the golden README's tolerances: features and queues 1e-5, losses 1e-4 (its own port: 3e-7 and 4e-6)
FEATURES = {"atol": 1e-5, "rtol": 0}
LOSSES = {"abs": 1e-4, "rel": 0}
# `eval` runs the original in eval mode: our batch norms without training, since no dropout is left
TRACES = {
    "eval": {"train_batch_norm": False, "multi_positive_top_k": 0},
    "train": {"train_batch_norm": True, "multi_positive_top_k": 0},
    "multi": {"train_batch_norm": False, "multi_positive_top_k": 5},
}
# each with a frozen trunk of its own for the momentum towers, as the original, and with the shared one
RUNS = [(trace, fraction) for trace in TRACES for fraction in (False, True)]


class Rows(Dataset):
    def __init__(self, batches):
        self.indices = [index for batch in batches for index in batch]

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        names = {"pixel_values": "pixel_values", "boxes": "boxes", "box_mask": "box_mask", "input_ids": "input_ids"}
        names["attention_mask"] = "token_mask"
        return {ours: TENSORS[f"io.{golden}"][self.indices[i]] for ours, golden in names.items()}


class Recorder(TrainerCallback):
    """Keeps what each step computed; runs after the queue callback."""

    def __init__(self):
        self.outputs, self.queues, self.sums = [], [], []

    def hook(self, module, args, output):
        self.outputs.append(output)

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.sums.append([sums for pair in model._towers for sums in tower_sums(*pair)])

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.queues.append(copy.deepcopy(model.queue))


def tower_sums(momentum_tower, query_tower):
    """Returns the sums of the momentum tower's parameters, those of a shared trunk included, and of the query's."""
    query = dict(query_tower.named_parameters())
    return parameter_sums(query | dict(momentum_tower.named_parameters())), parameter_sums(query)


def parameter_sums(parameters):
    tensors = [p.detach().double() for p in parameters.values()]
    return sum(p.sum() for p in tensors).item(), sum((p * p).sum() for p in tensors).item()


def build_model(trace, fraction):
    top_k, train_batch_norm = TRACES[trace]["multi_positive_top_k"], TRACES[trace]["train_batch_norm"]
    config = our_config(META, multi_positive_top_k=top_k, share_frozen_trunk=fraction)
    config.vision_config.train_batch_norm = config.vision_config.train_frozen_batch_norm = train_batch_norm
    model = BriVLForPreTraining(config)
    model.brivl.vision_model.load_state_dict(tower_state(TENSORS, "init.learnable.imgencoder."))
    model.brivl.text_model.load_state_dict(tower_state(TENSORS, "init.learnable.textencoder."))
    model.reset_momentum_towers()
    model.queue.image_keys.copy_(TENSORS["init.img_queue"].T)
    model.queue.text_keys.copy_(TENSORS["init.text_queue"].T)
    return model


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{'shared' if run[1] else 'two copies'}")
def run(request, tmp_path_factory):
    torch.set_num_threads(1)
    model, recorder = build_model(*request.param), Recorder()
    model.register_forward_hook(recorder.hook)
    args = TrainingArguments(
        output_dir=tmp_path_factory.mktemp("golden"),
        per_device_train_batch_size=4,
        max_steps=META["steps"],
        max_grad_norm=0,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    Trainer(
        model,
        args,
        train_dataset=Rows(META["batches"]),
        callbacks=[MomentumQueueCallback(), recorder],
        optimizers=(torch.optim.SGD(trained, lr=META["sgd_lr"]), None),
    ).train()
    return request.param[0], model, recorder


def test_losses_follow_the_original(run):
    trace, _, recorder = run
    expected = [step["loss"] for step in META["traces"][trace]["steps"]]
    assert [output.loss.item() for output in recorder.outputs] == pytest.approx(expected, **LOSSES)


def test_queries_and_keys_follow_the_original(run):
    trace, _, recorder = run
    names = {"q_image": "image_embeds", "q_text": "text_embeds", "k_image": "image_keys", "k_text": "text_keys"}
    for step, output in enumerate(recorder.outputs):
        for golden, ours in names.items():
            torch.testing.assert_close(output[ours].detach(), TENSORS[f"{trace}.step{step}.{golden}"], **FEATURES)


def test_queue_contents_and_pointer_follow_the_original(run):
    trace, _, recorder = run
    for step, queue in enumerate(recorder.queues):
        torch.testing.assert_close(queue.image_keys.T, TENSORS[f"{trace}.step{step}.img_queue"], **FEATURES)
        torch.testing.assert_close(queue.text_keys.T, TENSORS[f"{trace}.step{step}.text_queue"], **FEATURES)
        assert queue.position.item() == META["traces"][trace]["steps"][step]["img_ptr"]


def test_moving_average_keeps_the_original_order(run):
    """Sums of all parameters just before each optimizer step: the towers' EMA of that step has already happened."""
    trace, _, recorder = run
    unused = unused_sums()
    order = ["textencoder_mom", "textencoder", "imgencoder_mom", "imgencoder"]
    for step, sums in enumerate(recorder.sums):
        golden = META["traces"][trace]["steps"][step]["param_sums_before_optimizer"]
        for name, (total, squares) in zip(order, sums, strict=True):
            unused_total, unused_squares = unused[name.removesuffix("_mom")]
            assert total + unused_total == pytest.approx(golden[name]["sum"], abs=1e-3)
            assert squares + unused_squares == pytest.approx(golden[name]["sumsq"], abs=2e-3)


def unused_sums():
    """Returns what the original counts and our towers do not have: the CNN's classifier and BERT's pooler."""
    sums = {}
    for tower, part in (("imgencoder", "backbone.classifier."), ("textencoder", "pooler.")):
        tensors = [v.double() for k, v in TENSORS.items() if f".{tower}." in k and part in k]
        sums[tower] = sum(t.sum() for t in tensors).item(), sum((t * t).sum() for t in tensors).item()
    return sums


def test_trained_parameters_are_those_of_the_original():
    model = build_model("eval", fraction=True)
    ours = {name for name, p in model.named_parameters() if p.requires_grad}
    golden = dict.fromkeys(META["trainable_parameters"])
    vision = tower_state({k: torch.empty(1, 1) for k in golden}, "learnable.imgencoder.")
    text = tower_state({k: torch.empty(1, 1) for k in golden}, "learnable.textencoder.")
    assert ours == {f"brivl.vision_model.{k}" for k in vision} | {f"brivl.text_model.{k}" for k in text}


@pytest.mark.parametrize("run", [("eval", False), ("eval", True)], indirect=True)
def test_final_weights_of_both_towers_follow_the_original(run):
    _, model, _ = run
    ours = {
        "imgencoder": model.brivl.vision_model,
        "imgencoder_mom": model.momentum_vision_model,
        "textencoder": model.brivl.text_model,
        "textencoder_mom": model.momentum_text_model,
    }
    for name, tower in ours.items():
        golden = tower_state(TENSORS, f"eval.final.learnable.{name}.")
        state = tower.state_dict()
        compared = [key for key in golden if key in state]
        assert len(compared) == len(golden) or (name.endswith("_mom") and model.config.share_frozen_trunk)
        assert compared
        for key in compared:
            torch.testing.assert_close(state[key], golden[key], **FEATURES)


@pytest.mark.parametrize("run", [("train", False), ("train", True)], indirect=True)
def test_batch_norm_statistics_of_both_towers_follow_the_original(run):
    _, model, _ = run
    towers = {"imgencoder": model.brivl.vision_model, "imgencoder_mom": model.momentum_vision_model}
    for name, tower in towers.items():
        golden = tower_state(TENSORS, f"train.final.learnable.{name}.")
        state = tower.state_dict()
        compared = [key for key in golden if key in state]
        assert len(compared) == len(golden) or (name.endswith("_mom") and model.config.share_frozen_trunk)
        assert compared
        for key in compared:
            torch.testing.assert_close(state[key], golden[key], **FEATURES)
