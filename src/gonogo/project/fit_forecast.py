"""How much memory a fit would take, before it is started. Importing it imports torch only where it is asked."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gonogo.params import Params, project_path, read_yaml
from gonogo.project.settings import applied


def forecast(params: Path, category: str, settings: Sequence[str]) -> str:
    """The forecast of a category's fit with some settings, in a sentence; a few of its images are read for it.

    Raises:
        ConfigError: a setting is not allowed, or the fit does not fit into its memory budget.
        DataError: the category is not prepared.
    """
    from gonogo.calibration.regions import RegionParams
    from gonogo.calibration.threshold import CalibrateParams
    from gonogo.compute.live import open_live
    from gonogo.images.dataset import read_dataset
    from gonogo.model.fit_params import fit_section
    from gonogo.model.fitting import Fitting

    own = Params(params, category, content=applied(settings, read_yaml(params)))
    chosen = fit_section(own)
    calibrate, regions = own.values("calibrate", CalibrateParams), own.values("regions", RegionParams)
    dataset = read_dataset(project_path("prepared", category), own.raw)
    fitting = Fitting(dataset, chosen, calibrate, regions, own.seed, project_path("checkpoints", category))
    # Opened as the stage fit does: what it imports is part of the process whose size is told.
    with TemporaryDirectory() as folder, open_live(Path(folder)):
        return fitting.forecast(*fitting.start(fitting.records)).sentence
