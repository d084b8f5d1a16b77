"""Makes transformers' Auto classes and pipelines know BriVL, MLMM and the region detector.

The registrations run when transformers first loads its Auto modules, not when wenlan is imported: loading them, torch's
compiler and the model classes takes seconds that a program without models need not spend.
"""

from types import ModuleType

from wrapt import register_post_import_hook


def _register_configs(module: ModuleType) -> None:
    from .modeling_brivl.configuration_brivl import BriVLConfig, BriVLTextConfig, BriVLVisionConfig
    from .modeling_mlmm.configuration_mlmm import MLMMConfig
    from .modeling_region_detector.configuration_region_detector import RegionDetectorConfig

    for config in (BriVLConfig, BriVLTextConfig, BriVLVisionConfig, MLMMConfig, RegionDetectorConfig):
        module.AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_models(module: ModuleType) -> None:
    from .modeling_brivl.configuration_brivl import BriVLConfig, BriVLTextConfig, BriVLVisionConfig
    from .modeling_brivl.modeling_brivl import BriVLModel
    from .modeling_brivl.pretraining import BriVLForPreTraining
    from .modeling_brivl.towers import BriVLTextModel, BriVLVisionModel
    from .modeling_mlmm.configuration_mlmm import MLMMConfig
    from .modeling_mlmm.masked_lm import MLMMForMaskedLM
    from .modeling_mlmm.modeling_mlmm import MLMMModel
    from .modeling_mlmm.pretraining import MLMMForPreTraining
    from .modeling_mlmm.vqa import MLMMForVisualQuestionAnswering
    from .modeling_region_detector.configuration_region_detector import RegionDetectorConfig
    from .modeling_region_detector.modeling_region_detector import RegionDetector

    module.AutoModel.register(BriVLConfig, BriVLModel, exist_ok=True)
    module.AutoModel.register(BriVLTextConfig, BriVLTextModel, exist_ok=True)
    module.AutoModel.register(BriVLVisionConfig, BriVLVisionModel, exist_ok=True)
    module.AutoModelForPreTraining.register(BriVLConfig, BriVLForPreTraining, exist_ok=True)
    module.AutoModelForZeroShotImageClassification.register(BriVLConfig, BriVLModel, exist_ok=True)
    module.AutoModel.register(MLMMConfig, MLMMModel, exist_ok=True)
    module.AutoModelForPreTraining.register(MLMMConfig, MLMMForPreTraining, exist_ok=True)
    module.AutoModelForMaskedLM.register(MLMMConfig, MLMMForMaskedLM, exist_ok=True)
    module.AutoModelForVisualQuestionAnswering.register(MLMMConfig, MLMMForVisualQuestionAnswering, exist_ok=True)
    module.AutoModel.register(RegionDetectorConfig, RegionDetector, exist_ok=True)
    module.AutoModelForObjectDetection.register(RegionDetectorConfig, RegionDetector, exist_ok=True)
    # The pipeline of object detection looks only at these names, and logs an error for a model that is not among them.
    module.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES[RegionDetectorConfig.model_type] = RegionDetector.__name__


def _register_image_processor(module: ModuleType) -> None:
    from .modeling_brivl.configuration_brivl import BriVLConfig
    from .modeling_region_detector.configuration_region_detector import RegionDetectorConfig
    from .modeling_region_detector.image_processing_region_detector import RegionImageProcessor
    from .processing.image_processing_brivl import BriVLImageProcessor

    for config, processor in ((BriVLConfig, BriVLImageProcessor), (RegionDetectorConfig, RegionImageProcessor)):
        processors = {"torchvision": processor}
        module.AutoImageProcessor.register(config, image_processor_classes=processors, exist_ok=True)


def _register_processor(module: ModuleType) -> None:
    from .modeling_brivl.configuration_brivl import BriVLConfig
    from .modeling_mlmm.configuration_mlmm import MLMMConfig
    from .processing.processing_brivl import BriVLProcessor
    from .processing.processing_mlmm import MLMMProcessor

    module.AutoProcessor.register(BriVLConfig, BriVLProcessor, exist_ok=True)
    module.AutoProcessor.register(MLMMConfig, MLMMProcessor, exist_ok=True)


def _register_tokenizer(module: ModuleType) -> None:
    from transformers import BertTokenizer

    from .modeling_brivl.configuration_brivl import BriVLConfig

    module.AutoTokenizer.register(BriVLConfig, tokenizer_class=BertTokenizer, exist_ok=True)


def _register_pipeline(module: ModuleType) -> None:
    from transformers import AutoModelForVisualQuestionAnswering

    # By name, as transformers has its own, not by `register_pipeline`: that would need the class, which may just be
    # loading, and would make every `save_pretrained` write code.
    module.PIPELINE_REGISTRY.supported_tasks["wenlan-vqa"] = {
        "impl": f"{__package__}.pipelines.visual_question_answering.MLMMVisualQuestionAnsweringPipeline",
        "pt": (AutoModelForVisualQuestionAnswering,),
        "type": "multimodal",
    }
    checked = f"{__package__}.pipelines.checked_pipelines"
    tasks = module.PIPELINE_REGISTRY.supported_tasks
    tasks["zero-shot-image-classification"]["impl"] = f"{checked}.CheckedZeroShotPipeline"
    tasks["feature-extraction"]["impl"] = f"{checked}.CheckedFeatureExtractionPipeline"


def register_on_import() -> None:
    """Register BriVL, MLMM and the region detector with each Auto module as soon as transformers has loaded it."""
    register_post_import_hook(_register_pipeline, "transformers.pipelines")
    for name, hook in {
        "configuration_auto": _register_configs,
        "modeling_auto": _register_models,
        "image_processing_auto": _register_image_processor,
        "processing_auto": _register_processor,
        "tokenization_auto": _register_tokenizer,
    }.items():
        register_post_import_hook(hook, f"transformers.models.auto.{name}")


__all__ = ["register_on_import"]
