"""Train a small VQGAN on the drawings of emoji7 from a recipe: a folder that `diffusers.VQModel.from_pretrained` opens.

    wenlan train-vqgan vqgan_tiny
    wenlan train-vqgan vqgan_tiny --codes 256 --max_steps 3000 --output_dir runs/longer
    wenlan train-vqgan vqgan_tiny --resume                                    # resumes an interrupted run
    python -m wenlan.training_scripts.train_vqgan vqgan_tiny --max_steps 5 --train_limit 32     # a smoke run

There is no discriminator: the loss is the absolute error, with the codebook and commitment losses of VQ-VAE. The
recipes are in `recipes/`; the command line overrides any field.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from transformers import PreTrainedConfig, TrainingArguments

from ..data.files.json_files import write_json
from ..data.rows.report import BadRowReport
from ..pipelines.vqgan import hash_vqgan, open_vqgan, reduction
from ..training.checkpoints.atomic_trainer import AtomicCheckpointTrainer
from ..training.content_digest import digest_rows
from ..training.identity import describe_run
from ..training.recipe import parse_recipe
from ..training.run import METRICS, Run, RunArguments, hold_output_folder
from ..training.vqgan.data import DrawingsOnBackgrounds, VQGANDataArguments, load_drawings
from ..training.vqgan.evaluation import draw_reconstructions, evaluate_vqgan
from ..training.vqgan.model import RestartDeadCodes, VQGANArguments, VQGANForTraining, build_vqgan

COMMAND = "wenlan train-vqgan"
ARGUMENTS = (VQGANArguments, VQGANDataArguments, RunArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        ImportError: diffusers is not installed.
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the recipe or the checkpoint to continue from is bad, or the run broke.
    """
    arguments = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(arguments[-1]):
        return train(*arguments)


def train(
    model_args: VQGANArguments, data_args: VQGANDataArguments, run_args: RunArguments, args: TrainingArguments
) -> Path:
    """Train, save and evaluate; return the folder."""
    run = Run(args, run_args)
    vqgan = build_vqgan(model_args, data_args.image_size)
    trained, unseen = load_drawings(data_args, args.seed)
    settings = asdict(model_args) | asdict(data_args)
    content = {"rows": len(trained), "digest": digest_rows(trained.drawings)}
    config = PreTrainedConfig(**{name: value for name, value in vqgan.config.items() if not name.startswith("_")})
    run.identify(describe_run(args, settings, data=content, model=config))
    model = VQGANForTraining(vqgan, model_args)
    trainer = AtomicCheckpointTrainer(
        model, args, train_dataset=trained, callbacks=[*run.callbacks, RestartDeadCodes()]
    )
    run.train(trainer, BadRowReport("emoji7", len(trained)), max_bad_fraction=data_args.max_bad_fraction)
    run.save(trainer, None, part="vqgan")
    if run.is_main:
        evaluate(trained, unseen, args, run.output_dir)
    return run.finish(trainer, f"wenlan generate runs/quickstart --vqgan {run.output_dir} --texts 猫")


def evaluate(
    trained: DrawingsOnBackgrounds, unseen: DrawingsOnBackgrounds, args: TrainingArguments, output_dir: Path
) -> None:
    """Print the PSNR on the unseen style, write all metrics to `metrics.json` and images to `reconstructions.png`."""
    model = open_vqgan(output_dir)
    model.to(args.device)  # type: ignore[arg-type]  # diffusers wraps `to` without its types
    metrics = evaluate_vqgan(model, unseen, trained, batch_size=args.per_device_eval_batch_size, seed=args.seed)
    metrics |= {"model_hash": hash_vqgan(model), "image_size": unseen.args.image_size, "reduction": reduction(model)}
    write_json(output_dir / METRICS, metrics)
    draw_reconstructions(model, unseen, output_dir / "reconstructions.png")
    print(
        f"Unseen style: PSNR {metrics['psnr']:.1f} dB, by the mean image {metrics['psnr_of_mean_image']:.1f} dB; "
        f"{metrics['codes_used_fraction']:.0%} of {metrics['codes']} codes in use."
    )


__all__ = ["ARGUMENTS", "evaluate", "main"]

if __name__ == "__main__":
    main()
