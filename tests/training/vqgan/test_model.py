import pytest
import torch
from torch.nn import functional as F
from wenlan.pipelines.vqgan import decode_codes, embed_codes, encode_images, nearest_codes
from wenlan.training.vqgan.model import VQGANArguments, VQGANForTraining, build_vqgan

SMALL = {"channels": [8, 16], "norm_groups": 4, "codes": 16, "code_channels": 4, "quantize_from": 0}


def build(**changes):
    torch.manual_seed(0)
    args = VQGANArguments(**SMALL | changes)
    return VQGANForTraining(build_vqgan(args, 16), args)


def test_loss_is_absolute_error_and_the_two_losses_of_the_codebook():
    model, images = build(commitment=0.5).eval(), torch.rand(2, 3, 16, 16)
    loss = model(images)
    latents = model.vqgan.encode(images * 2 - 1).latents
    codebook = model.vqgan.quantize.embedding.weight
    nearest = embed_codes(codebook, nearest_codes(codebook, latents))
    assert loss.loss_codebook.item() == pytest.approx(F.mse_loss(nearest, latents).item())
    assert loss.loss_commitment.item() == pytest.approx(0.5 * loss.loss_codebook.item())
    decoded = model.vqgan.decode(latents).sample / 2 + 0.5  # diffusers quantizes itself
    assert loss.loss_l1.item() == pytest.approx(F.l1_loss(decoded, images).item(), abs=1e-6)
    assert loss.loss.item() == pytest.approx(sum(loss[name].item() for name in loss if name != "loss"))


def test_first_steps_train_an_autoencoder_and_the_last_of_them_fills_the_codebook():
    model, images = build(quantize_from=2).train(), torch.rand(4, 3, 16, 16)
    for step in range(2):
        loss = model(images)
        latents = model.vqgan.encode(images * 2 - 1).latents
        plain = model.vqgan.decode(latents, force_not_quantize=True).sample / 2 + 0.5
        assert loss.loss.item() == pytest.approx(F.l1_loss(plain, images).item(), abs=1e-6)
        assert model.restart_dead_codes(step) == [0, 16][step]
    assert model(images).loss_codebook.item() > 0
    assert (model.vqgan.quantize.embedding.weight[:, None] == latents.movedim(1, -1).flatten(0, 2)).all(2).any(1).all()


def test_every_weight_gets_a_gradient():
    model = build().train()
    model(torch.rand(2, 3, 16, 16)).loss.backward()
    lacking = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert lacking == []


def test_codes_that_are_unused_for_long_become_latents_of_the_batch_and_used_ones_stay():
    model, images = build(restart_after=3).train(), torch.rand(2, 3, 16, 16)
    model(images)
    latents = model.vqgan.encode(images * 2 - 1).latents.detach().movedim(1, -1).flatten(0, 2)
    used = encode_images(model.vqgan, images).unique()
    before = model.vqgan.quantize.embedding.weight.detach().clone()
    assert model.restart_dead_codes(0) == 16 - len(used)  # all are due at first
    after = model.vqgan.quantize.embedding.weight.detach().clone()
    assert torch.equal(after[used], before[used])
    restarted = [row for row in range(16) if row not in used.tolist()]
    assert (after[restarted, None] == latents).all(dim=2).any(dim=1).all()
    assert model.restart_dead_codes(1) == 0
    for _ in range(3):
        model(images)
    unused = (model.steps_unused >= 3).sum()
    assert model.restart_dead_codes(2) == unused


def test_evaluation_notes_nothing():
    model = build().eval()
    before = model.steps_unused.clone()
    model(torch.rand(1, 3, 16, 16))
    assert torch.equal(model.steps_unused, before)
    assert model.restart_dead_codes(0) == 0


def test_codes_survive_decoding_of_what_they_name():
    model = build().eval().vqgan
    codes = torch.randint(16, (2, 8, 8))
    with torch.no_grad():
        images = decode_codes(model, codes)
    assert images.shape == (2, 3, 16, 16)
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [
        ({"channels": []}, 16, "channels are"),
        ({"channels": [8, 10]}, 16, r"channels are \[8, 10\]; give multiples of norm_groups 4"),
        ({"channels": [8, 8, 8]}, 18, "image_size is 18, and a code is 4 pixels wide"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, size, message):
    with pytest.raises(ValueError, match=message):
        build_vqgan(VQGANArguments(**SMALL | changes), size)
