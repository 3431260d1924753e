"""A fitted model's detector, fitted once more on the same images with another seed."""

from gonogo.images.dataset import Dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model


def refitted(model: Model, dataset: Dataset, *, seed: int) -> Inspector:
    """An inspector like the model's, whose detector was fitted with `seed`; a finetuned backbone stays as it is.

    Args:
        dataset: the one that the model was fitted on.
    """
    known = model.inspector
    detector = type(known.detector)(known.detector.options)
    for backbone, its_own in zip(detector.backbones(), known.detector.backbones(), strict=True):
        backbone.load_state_dict(its_own.state_dict())
        backbone.is_loaded = True
    tiling = None if known.tiles is None else known.tiles.tiling
    preprocess = None if known.preprocessing is None else known.preprocessing.params
    inspector = Inspector(detector, model.rule.params.inside, tiling=tiling, preprocess=preprocess)
    inspector.preprocessing = known.preprocessing
    of_path = {record.path: record for record in dataset.records}
    fitted_on = model.manifest["fitted_on"]
    records = [of_path[path] for path in fitted_on["images"]]
    detector.fit(FitImages(inspector, dataset, records, rotations=fitted_on["rotations"]), seed=seed)
    return inspector
