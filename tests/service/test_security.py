"""The service lets nobody in without a key, nothing in that is not an image, and tells nothing of its insides."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from serving import files, inspected, running, start  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service import security
from gonogo.service.client import Client, inspect
from gonogo.service.security import HEADERS
from gonogo.service.settings import FORMATS

# ruff: noqa: F811  fixtures are imported, and then named


def encoded(form, pixels=None, **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8) if pixels is None else pixels).save(file, format=form, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("run.js", "alert(1)")
    return file.getvalue()


def post(running, data, **rest):
    return running.ask("POST", "/v1/inspect", content=data, **rest)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Bearer gonogo_0123456789abcdef_x", "Basic Z29ub2dv", "Bearer gonogo_'--_x"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/inspect"),
        ("POST", "/v1/inspect:stream"),
        ("GET", "/v1/inspections"),
        ("GET", f"/v1/inspections/{'0' * 32}/image"),
        ("POST", f"/v1/inspections/{'0' * 32}/review"),
        ("GET", "/v1/bundles"),
        ("POST", "/v1/bundles:activate"),
        ("GET", "/metrics"),
    ],
)
def test_without_a_key_nothing_is_answered(running, method, path, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    body = {"fingerprint": "0" * 64} if "activate" in path else {"label": "good"}
    answer = running.http.request(method, path, headers=headers, json=body if method == "POST" else None)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:gonogo:problem:unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_of_another_secret_and_one_that_was_revoked_let_nobody_in(start, files, monkeypatch):
    monkeypatch.setattr(security, "KEY_CACHE_SECONDS", -1.0)
    with start() as running:
        mine, other = running.keys["inspect"], running.keys["admin"]
        identifier = mine.split("_")[1]
        running.keys["inspect"] = f"gonogo_{identifier}_{other.split('_', 2)[2]}"
        assert post(running, files[0].read_bytes()).status_code == 401
        running.keys["inspect"] = mine
        assert post(running, files[0].read_bytes()).status_code == 200
        assert running.service.store.revoke(identifier)
        assert post(running, files[0].read_bytes()).status_code == 401


def test_a_role_may_what_those_below_it_may_and_no_more(running, files):
    identifier = inspected(running, files[0])["id"]
    asked = {
        "inspect": ("GET", "/v1/inspections", None),
        "review": ("POST", f"/v1/inspections/{identifier}/review", {"label": "good"}),
        "admin": ("POST", "/v1/bundles:activate", {"fingerprint": running.service.gauge.scorer.fingerprint}),
    }
    roles = list(asked)
    for role in roles:
        for needed, (method, path, body) in asked.items():
            allowed = roles.index(role) >= roles.index(needed)
            assert running.ask(method, path, role=role, json=body).status_code == (200 if allowed else 403)


def test_of_a_key_only_a_hash_is_kept(running):
    kept = b"".join(path.read_bytes() for path in running.service.settings.data.glob("inspections.sqlite*"))
    for text in running.keys.values():
        assert text.split("_", 2)[2].encode() not in kept
        assert text.split("_", 2)[1].encode() in kept


def test_beyond_its_rate_a_key_is_429_and_another_key_is_not(start, files):
    with start(rate=0.5, burst=3) as running:
        statuses = [post(running, files[0].read_bytes()).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = post(running, files[0].read_bytes())
        assert int(refused.headers["retry-after"]) in (1, 2)
        assert post(running, files[0].read_bytes(), role="admin").status_code == 200


def test_the_images_of_a_batch_count_each(start, files):
    with start(rate=0.01, burst=5) as running:
        parts = [("image", ("a.png", files[0].read_bytes()))] * 5
        assert running.ask("POST", "/v1/inspect", files=parts).status_code == 200
        assert post(running, files[0].read_bytes()).status_code == 429


def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_one_of_unknown_length_as_soon_as_it_is(start):
    n_read = 0

    def chunks():
        nonlocal n_read
        for _ in range(1000):
            n_read += 1
            yield b"\0" * 1024

    with start(max_body=10_000, max_image=8000) as running:
        said = running.ask("POST", "/v1/inspect", content=b"\0", headers={"Content-Length": "10001"})
        assert (said.status_code, said.json()["type"]) == (413, "urn:gonogo:problem:too-large")
        assert post(running, chunks()).status_code == 413
        assert post(running, encoded("BMP", np.zeros((60, 50, 3), np.uint8))).status_code == 413  # one image's limit
        small = running.ask("POST", "/v1/bundles:activate", role="admin", content=b" " * 70_000)
        assert small.status_code == 413


def test_more_pixels_than_allowed_are_refused_by_the_header_alone(start, monkeypatch):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    with start(max_pixels=63) as running:
        monkeypatch.setattr("gonogo.images.reading.pixels_of", lambda *_: pytest.fail("it was decoded"))
        for data in (bomb, encoded("PNG")):
            answer = post(running, data)
            assert answer.status_code in (413, 422), answer.text
            assert "pixels" in answer.json()["detail"] or data is bomb


PNG, JPEG, WEBP, BMP = (encoded(form) for form in ("PNG", "JPEG", "WEBP", "BMP"))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
SECOND = Image.new("RGB", (8, 8), "red")


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        (SVG, "application/octet-stream"),
        (SVG, "image/png"),
        (b"", "image/png"),
        (PNG[:-20], "image/png"),
        (JPEG[:-200], "image/jpeg"),
        (PNG, "image/jpeg"),
        (JPEG, "image/png"),
        (PNG + zipped(), "image/png"),
        (PNG + SVG, "image/png"),
        (JPEG + zipped(), "image/jpeg"),
        (JPEG + b"<?php", "image/jpeg"),
        (WEBP + zipped(), "image/webp"),
        (BMP + zipped(), "image/bmp"),
        (PNG[:-12] + chunk(b"zzZz", zipped()[:-2] + struct.pack("<H", 16)) + PNG[-12:], "image/png"),
        (encoded("PNG", save_all=True, append_images=[SECOND]), "image/png"),
        (encoded("GIF"), "application/octet-stream"),
        (encoded("TIFF"), "image/tiff"),
        (b"%PDF-1.7", "application/octet-stream"),
    ],
)
def test_what_is_not_one_plain_image_is_refused(running, data, declared):
    answer = post(running, data, headers={"Content-Type": declared})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gonogo:problem:unreadable-image"), answer.text


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_plain_image_is_taken_and_zeros_behind_its_end_are_no_matter(running, form):
    grain = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    for pixels in (None, grain):
        for options in ({}, {"progressive": True} if form == "JPEG" else {}):
            data = encoded(form, pixels, **options)
            for whole in (data, data + b"\0" * 7):
                assert post(running, whole, headers={"Content-Type": f"image/{form.lower()}"}).status_code == 200


def test_svg_as_a_media_type_and_what_else_is_no_image_is_415(running):
    for declared in ("image/svg+xml", "text/html", "application/json", "multipart/mixed; boundary=x"):
        assert post(running, SVG, headers={"Content-Type": declared}).status_code == 415


def test_tiff_is_taken_where_the_settings_say_so(start):
    with start(formats=FORMATS) as running:
        assert post(running, encoded("TIFF")).status_code == 200
        assert post(running, encoded("TIFF") + zipped()).status_code == 422


NAMES = {  # by what is stored of them
    "../../etc/passwd": "../../etc/passwd",
    "/etc/passwd": "/etc/passwd",
    "a\\b.png": "a\\b.png",
    "..": "..",
    " ": " ",
    "x" * 255: "x" * 255,
    "größe.png": "größe.png",
    "部品 ①.png": "部品 ①.png",
    "teil#1.png": "teil#1.png",
    "a&b=c%20d+e;f.png": "a&b=c%20d+e;f.png",
    "x[1]'\"{}.png": "x[1]'\"{}.png",
    "👩‍🔧.png": "👩‍🔧.png",
    "a\nb\x1b[1m\x85.png": "a\\nb\\x1b[1m\\x85.png",
}


@pytest.mark.parametrize(("name", "stored"), NAMES.items())
def test_a_name_is_text_and_costs_no_verdict_and_no_file_is_made_of_it(running, files, name, stored, tmp_path):
    def kept():
        return {path for path in running.service.settings.data.rglob("*") if path.is_file()}

    inspected(running, files[1])
    before = kept()
    parts = [("image", (name, files[1].read_bytes()))]
    answers = [
        running.ask("POST", "/v1/inspect", files=parts),
        post(running, files[1].read_bytes(), params={"name": name}),
    ]
    if "/" not in name and name not in (" ", "..") and len(name) < 100:
        path = tmp_path / name
        path.write_bytes(files[1].read_bytes())
        with Client("http://testserver", running.keys["inspect"], transport=running.http._transport) as ask:
            assert ask(inspect(path)).inspections[0].image.name == stored
    for answer in answers:
        assert answer.status_code == 200, answer.text
        (told,) = answer.json()["inspections"]
        assert told["image"]["name"] == stored
        assert running.service.store.inspection(told["id"])["name"] == stored
    assert kept() == before


def test_a_file_whose_name_says_another_format_than_its_content_is_judged_by_its_content(running, files, tmp_path):
    for suffix in (".jpg", ".webp", ".tif", ".part"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(files[1].read_bytes())
        with Client("http://testserver", running.keys["inspect"], transport=running.http._transport) as ask:
            assert ask(inspect(path)).inspections[0].image.name == path.name


@pytest.mark.parametrize(
    ("parameter", "stored"),
    [
        ("filename*=UTF-8''gr%C3%B6%C3%9Fe%20%231.png", "größe #1.png"),
        ("filename=\"plain.png\"; filename*=utf-8'de'%E9%83%A8.png", "部.png"),
        ("filename*=iso-8859-1''gr%F6%DFe.png", "größe.png"),
        ("filename*=no-charset''a.png; filename=b.png", "b.png"),
        ('filename="=?UTF-8?B?Z3LDtsOfZS5wbmc=?="', "größe.png"),
        ('filename="=?utf-8?q?gr=C3=B6=C3=9Fe=2Epng?="', "größe.png"),
        ('filename="=?nonsense?="', "=?nonsense?="),
        ('filename="say %22hi%22.png"', 'say "hi".png'),
        ("filename=größe.png", "größe.png"),
        ('filename="', '"'),
    ],
)
def test_a_name_is_read_in_each_of_the_ways_that_clients_write_it(running, files, parameter, stored):
    head = f'--b\r\nContent-Disposition: form-data; name="image"; {parameter}\r\n\r\n'.encode()
    body = head + files[1].read_bytes() + b"\r\n--b--\r\n"
    form = post(running, body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    raw = post(
        running,
        files[1].read_bytes(),
        headers={"Content-Disposition": f"attachment; {parameter}".encode()},
    )
    assert [answer.json()["inspections"][0]["image"]["name"] for answer in (form, raw)] == [stored, stored]


def test_bytes_that_are_not_utf_8_are_escapes_and_more_than_255_characters_are_refused(running, files):
    for name, status in ((b"gr\xf6.png", 200), ("é".encode() * 256, 422)):
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n'
        body = head + files[1].read_bytes() + b"\r\n--b--\r\n"
        answer = post(running, body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == status
        if status == 200:
            assert answer.json()["inspections"][0]["image"]["name"] == "gr\\xf6.png"
        else:
            assert "256 characters; at most 255" in answer.json()["detail"]


def test_a_tiff_says_what_to_do_about_it(running):
    detail = post(running, encoded("TIFF")).json()["detail"]
    assert "--tiff" in detail
    assert "PNG" in detail


def test_no_answer_repeats_the_host_that_the_client_names(running):
    for method, path in (("GET", "/healthz/"), ("POST", "/v1/inspect/"), ("GET", "//evil.example/"), ("GET", "/v1/")):
        answer = running.http.request(method, path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.status_code in (401, 404)  # the first page asks who is there
        assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("identifier", ["..%2f..%2fetc%2fpasswd", "0" * 31, "G" * 32, "%00", "'%20OR%201=1"])
def test_an_identifier_is_32_digits_or_nothing(running, identifier):
    assert running.ask("GET", f"/v1/inspections/{identifier}/image").status_code in (404, 422)


def test_every_answer_has_the_headers_and_is_not_to_be_stored(start, files):
    with start(tls=True) as running:
        answers = [
            running.http.get("/healthz"),
            running.http.get("/nothing"),
            post(running, files[0].read_bytes()),
            post(running, b"x", headers={"Content-Length": str(1 << 40)}),
            running.ask("GET", f"/v1/inspections/{'0' * 32}"),
        ]
        assert [answer.status_code for answer in answers] == [200, 404, 200, 413, 404]
        for answer in answers:
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert "max-age" in answer.headers["strict-transport-security"]


def test_what_fails_inside_is_a_500_that_tells_nothing_and_the_service_goes_on(start, files, monkeypatch):
    with start() as running:
        scorer = running.service.gauge.scorer

        def broken(*_, **__):
            raise KeyError("secret place /srv/model")

        monkeypatch.setattr(scorer, "score_pixels", broken)
        answer = post(running, files[0].read_bytes())
        monkeypatch.undo()
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:gonogo:problem:internal")
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert post(running, files[0].read_bytes()).status_code == 200


def test_damaged_bodies_are_never_more_than_a_clients_mistake(start, files):
    rng = np.random.default_rng(17)
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG + b"\r\n--b--\r\n"
    types = [
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/bmp",
        "multipart/form-data; boundary=b",
        "application/octet-stream",
    ]
    seeds, statuses = [PNG, JPEG, WEBP, BMP, form, files[0].read_bytes()], []
    with start(rate=1e6, burst=10**6) as running:
        for _ in range(300):
            data = bytearray(seeds[rng.integers(len(seeds))])
            for _ in range(rng.integers(1, 8)):
                data[rng.integers(len(data))] = rng.integers(256)
            data = data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.5 else data
            answer = post(running, bytes(data), headers={"Content-Type": types[rng.integers(len(types))]})
            statuses.append(answer.status_code)
    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert sum(status >= 400 for status in statuses) > 150
