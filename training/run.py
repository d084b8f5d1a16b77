"""What the training scripts repeat: saving."""

from pathlib import Path

from transformers import ProcessorMixin, Trainer

from ..data.files.atomic import atomic_files
from ..modeling_brivl.pretraining import BriVLForPreTraining


def save_query_towers(trainer: Trainer, model: BriVLForPreTraining, processor: ProcessorMixin) -> None:
    """Write the query towers, the processor and the course of training into the output folder."""
    state = trainer.accelerator.get_state_dict(trainer.model)  # on every rank: the towers may be sharded
    if trainer.is_world_process_zero():
        query_state = {k.removeprefix("brivl."): v for k, v in state.items() if k.startswith("brivl.")}
        with atomic_files(Path(trainer.args.output_dir)) as folder:
            model.brivl.save_pretrained(folder, state_dict=query_state)
            processor.save_pretrained(folder)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))


def save(trainer: Trainer, processor: ProcessorMixin, output_dir: Path) -> None:
    """Write the model with its four heads, the processor and the course of training into the output folder."""
    state = trainer.accelerator.get_state_dict(trainer.model)  # on every rank: the model may be sharded
    if trainer.is_world_process_zero():
        with atomic_files(output_dir) as folder:
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder, state_dict=state)
            processor.save_pretrained(folder)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))


__all__ = ["save", "save_query_towers"]
