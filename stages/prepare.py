"""Cut or read the images of one category, give each its role, and freeze them with a manifest."""

import door
from gonogo.config import Params
from gonogo.files import write_metrics
from gonogo.manifest import count_metrics, write_samples
from gonogo.sources import SOURCES


def main(category: str, params: Params) -> None:
    source = params.variant("prepare", SOURCES)
    manifest = write_samples(door.path("prepared", category), category, source.samples(params.seed))
    counts = count_metrics(manifest)
    write_metrics(door.path("metrics", "prepare", f"{category}.json"), counts)
    door.say(
        f"{category}: {counts['n_fit']} fit, {counts['n_calibrate']} calibrate, "
        f"{counts['n_test_good']} good and {counts['n_test_defective']} defective test images"
    )


if __name__ == "__main__":
    door.run(main)
