"""Each kind of image file at each door: init, prepare, the line and the service read the same, or refuse it alike."""

import io
import mimetypes

import numpy as np
import pytest
from PIL import Image
from tests.images.test_formats import FILES

from serving import Running, running  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.data.prepare.examine import Reject, content_of, examine
from gonogo.data.prepare.layouts import categories_in
from gonogo.data.sample import Sample, Shares
from gonogo.errors import DataError, ImageError
from gonogo.images.header import FORMATS
from gonogo.images.reading import SUFFIXES, decode
from gonogo.images.structure import name_of
from gonogo.line.hot_folder import HotFolder
from gonogo.line.inputs import items, pixels_of
from gonogo.service.arena import folder_cases
from gonogo.service.settings import WITHOUT_TIFF, Settings
from gonogo.service.uploads import DECLARED, MEDIA_TYPES

# ruff: noqa: F811  fixtures are imported, and then named

ANSWER = " cannot be read as an image: "  # of all doors, after the name of the image


@pytest.fixture(scope="module")
def seeing(bundle, tmp_path_factory):
    """A service that accepts every format and keeps the pixels that it scores in `seen`."""
    folder = tmp_path_factory.mktemp("every_door")
    with Running(Settings(bundle=bundle, data=folder, threads=1, deadline=60.0, formats=FORMATS)) as started:
        started.seen = []
        real = started.service.runner._score

        def seen(jobs):
            started.seen += [job.pixels for job in jobs]
            return real(jobs)

        started.service.runner._score_batched._work = seen
        yield started


def at_init(path):
    try:
        (found,) = categories_in(path.parents[1], Shares(seed=0, test=0.2, calibrate=0.2))
    except DataError as error:
        return str(error)
    return found.size


def at_prepare(path):
    sample = Sample(name="good/part.png", image=path, label=0, defect_type="good", roles=("fit",))
    seen = examine(sample, path.parent, path.parents[1])
    return seen.reason if isinstance(seen, Reject) else seen.content


def at_line(items_found):
    (item,) = items_found
    try:
        return content_of(pixels_of(item))
    except ImageError as error:
        return str(error)


def at_service(running, data, **rest):
    running.seen.clear()
    answer = running.ask("POST", "/v1/inspect", content=data, **rest)
    if answer.status_code == 200:
        (pixels,) = running.seen
        return content_of(pixels)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gonogo:problem:unreadable-image")
    return answer.json()["detail"]


@pytest.mark.parametrize(("row", "write"), FILES)
def test_each_file_is_the_same_image_at_every_door_or_refused_with_the_same_words(seeing, tmp_path, row, write):
    data = write()
    path = tmp_path / "raw" / "good" / "part.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    told = {
        "init": at_init(path),
        "prepare": at_prepare(path),
        "line": at_line(items([str(path)])),
        "folder": at_line(items([str(path.parent)])),
        "hot": at_line(HotFolder(path.parent, settle=0.0, without=set()).complete()),
        "service": at_service(seeing, data),
    }
    if row.reason is None:
        assert told.pop("init") == row.pixels.shape[1::-1]
        assert set(told.values()) == {told["prepare"]}
        assert len(told["prepare"]) == 64
    else:
        assert {answer.rpartition(ANSWER)[2] for answer in told.values()} == {told["line"].rpartition(ANSWER)[2]}
        assert all(ANSWER in answer for answer in told.values())


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_service_reads_every_format_that_the_others_read_and_names_the_switch_of_the_one_it_does_not(
    running, image_format
):
    rows = [(row, write) for row, write in (one.values for one in FILES) if row.reason is None]
    chosen = [data for _, write in rows if name_of(data := write()) == image_format]
    assert chosen
    for data in chosen:
        answer = running.ask("POST", "/v1/inspect", content=data)
        if image_format in WITHOUT_TIFF:
            assert answer.status_code == 200, answer.text
        else:
            assert (answer.status_code, "--tiff" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("media_type", DECLARED)
def test_every_media_type_is_taken_by_the_names_that_programs_give_it_and_the_image_comes_back_with_its_own(
    seeing, media_type
):
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, DECLARED[media_type])
    raw = {"content": file.getvalue(), "headers": {"Content-Type": media_type}}
    for how in (raw, {"files": [("image", ("part", file.getvalue(), media_type))]}):
        answer = seeing.ask("POST", "/v1/inspect", **how)
        assert answer.status_code == 200, answer.text
    (told,) = answer.json()["inspections"]
    back = seeing.ask("GET", f"/v1/inspections/{told['id']}/image")
    assert back.content == file.getvalue()
    assert MEDIA_TYPES[back.headers["content-type"]] == DECLARED[media_type]
    others = {kind for kind, form in DECLARED.items() if form != DECLARED[media_type]}
    wrong = seeing.ask("POST", "/v1/inspect", content=file.getvalue(), headers={"Content-Type": others.pop()})
    assert (wrong.status_code, "declared as" in wrong.json()["detail"]) == (422, True)


def test_the_arena_shows_the_formats_that_the_service_reads(bundle, tmp_path):
    for name in ("a.pgm", "b.jfif", "c.tif", "d.png", ".e.png", "f.pdf"):
        (tmp_path / "good" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "good" / name).write_bytes(b"")

    def shown(formats):
        return [
            case.file for case in folder_cases(Settings(bundle=bundle, data=tmp_path, arena=tmp_path, formats=formats))
        ]

    assert shown(FORMATS) == ["good/a.pgm", "good/b.jfif", "good/c.tif", "good/d.png"]
    assert shown(WITHOUT_TIFF) == ["good/a.pgm", "good/b.jfif", "good/d.png"]


def test_the_types_that_python_and_browsers_declare_for_the_names_of_images_are_taken():
    known = mimetypes.MimeTypes()
    guessed = {suffix: known.guess_type("part" + suffix)[0] for suffix in SUFFIXES}
    assert {kind for kind in guessed.values() if kind} <= set(DECLARED)
    assert {"image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/x-portable-graymap"} <= set(DECLARED)


def test_an_array_is_judged_as_the_image_it_shows_by_the_format_that_the_query_names(seeing):
    pixels = np.random.default_rng(5).integers(0, 256, (9, 8, 3), np.uint8)
    file = io.BytesIO()
    np.save(file, pixels[..., ::-1])
    assert at_service(seeing, file.getvalue(), params={"pixels": "bgr8"}) == content_of(pixels)
    assert at_service(seeing, file.getvalue(), params={"pixels": "rgb8"}) == content_of(pixels[..., ::-1])
    assert "an array of NumPy" in at_service(seeing, file.getvalue())
    assert "expected (h, w)" in at_service(seeing, file.getvalue(), params={"pixels": "grey8"})
    wrong = seeing.ask("POST", "/v1/inspect", content=file.getvalue(), params={"pixels": "brg8"})
    assert (wrong.status_code, "no format of pixels" in wrong.json()["detail"]) == (422, True)
    told = seeing.ask("POST", "/v1/inspect", content=file.getvalue(), params={"pixels": "bgr8"}).json()["inspections"][
        0
    ]
    kept = seeing.ask("GET", f"/v1/inspections/{told['id']}/image").content
    assert content_of(decode(kept, "kept")[0]) == content_of(pixels)
