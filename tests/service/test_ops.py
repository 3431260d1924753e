"""What the containers run: ops/ names only what is there, and Prometheus gets every figure that it asks for."""

import configparser
import json
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import gonogo
from gonogo.cli.main import parse_arguments
from serving import files, inspected, running, start, until  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.settings import Settings
from served import Served, free_port

# ruff: noqa: F811  fixtures are imported, and then named

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
DASHBOARD = OPS / "grafana/dashboards/gonogo.json"
NAME = re.compile(r"\bgonogo_[a-z_]+")


def read(path):
    return YAML(typ="safe").load(path.read_text())


def services():
    return read(OPS / "compose.yaml")["services"]


def instructions(name):
    """The arguments of the Dockerfile's instructions of one name, in order."""
    lines = (OPS / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{name} ")]


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def asked_of_prometheus():
    """Every expression of the dashboard and of the alerts, by where it stands."""
    found = {f"{panel['title']} {one['refId']}": one["expr"] for panel in panels() for one in panel["targets"]}
    rules = [rule for group in read(OPS / "alerts.yml")["groups"] for rule in group["rules"]]
    return found | {rule["alert"]: rule["expr"] for rule in rules}


def test_every_figure_that_is_asked_for_is_told_and_every_one_that_is_told_is_documented(running, files):
    inspected(running, files[0])
    text = running.ask("GET", "/metrics").text
    told = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    for place, expression in asked_of_prometheus().items():
        names = set(NAME.findall(expression))
        assert names <= told, place
        assert names or expression.startswith("up{"), place
    documented = set(NAME.findall((ROOT / "docs/service.md").read_text()))
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name for name in families if not name.endswith("_created")} == documented


def test_counters_are_there_before_the_first_image_so_that_it_counts(start):
    with start() as running:
        text, category = running.ask("GET", "/metrics").text, running.service.gauge.scorer.category
    for verdict in ("pass", "reject"):
        assert f'gonogo_verdicts_total{{category="{category}",verdict="{verdict}"}} 0.0' in text
    assert f'gonogo_uncertain_total{{category="{category}"}} 0.0' in text


def test_panels_have_their_own_place_and_the_source_that_is_provisioned():
    taken, ids = set(), [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) > 8
    sources = {one["uid"] for one in read(OPS / "grafana/provisioning/datasources/prometheus.yml")["datasources"]}
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert {panel["datasource"]["uid"], *(one["datasource"]["uid"] for one in panel["targets"])} == sources


def test_the_containers_commands_are_gonogos():
    (image,) = instructions("CMD")
    composed = [word.replace("${BUNDLE:?", "").split("}")[0] for word in services()["gonogo"]["command"]]
    for words in (json.loads(image), composed):
        asked = parse_arguments(words)
        assert (asked.action, asked.host, asked.plain) == ("run", "0.0.0.0", True)
        assert str(asked.data) in instructions("RUN")[-1]
        assert asked.bundles == Path("/bundles")
    assert [json.loads(one) for one in instructions("ENTRYPOINT")] == [["gonogo"]]


def test_a_container_that_stops_has_the_time_to_answer_what_it_accepted():
    settings = Settings(bundle=Path("b"), data=Path("d"))
    seconds = int(services()["gonogo"]["stop_grace_period"].removesuffix("s"))
    assert seconds > settings.deadline + settings.body_seconds + 1


def test_containers_may_write_nothing_but_their_volumes_and_gain_no_rights():
    for name, service in services().items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or name == "proxy"
    assert instructions("USER") == ["10001:10001"]


def test_containers_may_not_use_up_the_machine():
    for name, service in services().items():
        assert service["mem_limit"] == service["memswap_limit"], name
        assert {"nofile", "core"} <= set(service["ulimits"]), name
        assert service["pids_limit"], name


def test_images_have_their_versions_and_digests_and_no_host():
    images = [service["image"] for service in services().values()]
    images += [f"python:{default.split('=')[1]}" for default in instructions("ARG") if default.startswith("PYTHON=")]
    assert len(images) == 5
    for image in images:
        own = image.startswith("gonogo:")
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[\w.-]*" + ("" if own else "@sha256:[0-9a-f]{64}"), image), image
    assert services()["gonogo"]["image"] == f"gonogo:{gonogo.__version__}"


def test_what_containers_mount_is_there_and_secrets_are_in_no_commit():
    content = read(OPS / "compose.yaml")
    mounted = [one for service in services().values() for one in service["volumes"] if one.startswith("./")]
    assert len(mounted) == 5
    for one in mounted:
        assert (OPS / one.split(":")[0]).exists(), one
    named = {one.split(":")[0] for service in services().values() for one in service["volumes"] if one[0].isalpha()}
    assert named == set(content["volumes"])
    assert {one for service in services().values() for one in service.get("secrets", [])} == set(content["secrets"])
    for secret in content["secrets"].values():
        ignored = subprocess.run(["git", "check-ignore", "--quiet", OPS / secret["file"]], cwd=ROOT)
        assert ignored.returncode == 0


def test_the_image_is_made_of_what_is_there_and_of_all_that_the_package_is_built_from():
    copied = [word for line in instructions("COPY") if "--from" not in line for word in shlex.split(line)[:-1]]
    allowed = [line[1:] for line in (OPS / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert sorted(copied) == sorted(allowed)
    for name in copied:
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", name], cwd=ROOT, capture_output=True)
        assert tracked.returncode == 0, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [name for names in project["tool"]["setuptools"]["data-files"].values() for name in names]
    needed += [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "src"]
    for name in needed:
        assert any(name == one or name.startswith(f"{one}/") for one in copied), name
    extras = next(one.split("=")[1] for one in instructions("ARG") if one.startswith("EXTRAS="))
    wanted = [name for extra in extras.split(",") for name in project["project"]["optional-dependencies"][extra]]
    assert wanted
    assert not any(name.startswith(("torch", "gonogo[")) for name in wanted)


@contextmanager
def answering(path, *, certificate=None):
    """The port of a server that knows this path alone; `certificate`: a file with its key too, of a host elsewhere."""

    class Known(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == path else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Known) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_the_health_check_ends_with_0_where_the_service_answers_and_otherwise_not():
    (line,) = instructions("HEALTHCHECK")
    command = json.loads(line[line.index("[") :])
    assert command[0] == "python"
    with answering("/readyz") as port:
        words = [sys.executable, *(word.replace(":8484", f":{port}") for word in command[1:])]
        healthy = subprocess.run(words, capture_output=True)
    assert healthy.returncode == 0
    assert subprocess.run(words, capture_output=True).returncode == 1


def check_of(name, port):
    """The status of a service's health check in compose.yaml, where `port` stands for that of its container."""
    kind, *words = services()[name]["healthcheck"]["test"]
    assert kind == "CMD"
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]}: it is in the image of {name}")
    (address,) = [word for word in words if "://127.0.0.1:" in word]
    inner = re.search(r"127\.0\.0\.1:(\d+)", address)[1]
    published = [entry.rpartition(":")[2] for entry in services()[name].get("ports", [inner])]
    assert published == [inner], "the check asks the port on which the container listens"
    command = [word.replace(f"127.0.0.1:{inner}", f"127.0.0.1:{port}") for word in words]
    return subprocess.run(command, capture_output=True).returncode


def test_every_container_has_a_health_check():
    checked = {name for name, service in services().items() if "healthcheck" in service}
    assert checked | {"gonogo"} == set(services())
    assert len(instructions("HEALTHCHECK")) == 1


def test_the_check_of_the_proxy_and_of_grafana_fails_where_they_do_not_answer(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    both = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gauge.example", "-days", "2"]
    subprocess.run(["openssl", *make, "-keyout", both[0], "-out", both[1]], check=True, capture_output=True)
    (tmp_path / "both.pem").write_bytes(b"".join(path.read_bytes() for path in both))
    for name, path, certificate in (("proxy", "/readyz", tmp_path / "both.pem"), ("grafana", "/api/health", None)):
        with answering(path, certificate=certificate) as port:
            assert check_of(name, port) == 0
        with answering("/other", certificate=certificate) as port:
            assert check_of(name, port) != 0
        assert check_of(name, free_port()) != 0


def test_nginx_lets_through_what_the_service_takes_and_waits_as_long():
    settings, text = Settings(bundle=Path("b"), data=Path("d")), (OPS / "nginx.conf").read_text()
    limits = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)[sm];", text)}
    assert limits["client_max_body_size"] << 20 == settings.max_stream_body
    assert limits["proxy_read_timeout"] > settings.deadline + settings.body_seconds
    ports = {port.split(":")[1] for port in services()["proxy"]["ports"]}
    assert ports == set(re.findall(r"listen (\d+) ssl;", text))


promtool, prometheus = shutil.which("promtool"), shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(
    not promtool or not prometheus, reason="no prometheus: apt-get install prometheus"
)


@needs_prometheus
def test_the_check_of_prometheus_fails_where_it_does_not_run(tmp_path):
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("global: {}")
    words = [f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'series'}"]
    assert check_of("prometheus", port) != 0
    running = subprocess.Popen(
        [prometheus, *words, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: time.sleep(0.2) or check_of("prometheus", port) == 0)
    finally:
        running.terminate()
        running.wait(300)


SERIES = {
    'up{job="gonogo"}': "1x5 0x30",
    'gonogo_requests_total{route="/v1/inspect",status="503"}': "0x10 0+1x30",
    'gonogo_requests_total{route="/v1/inspect",status="422"}': "0+9x40",
    'gonogo_request_seconds_bucket{route="/v1/inspect",le="1.0"}': "0+90x40",
    'gonogo_request_seconds_bucket{route="/v1/inspect",le="2.0"}': "0+100x40",
    'gonogo_request_seconds_bucket{route="/v1/inspect",le="+Inf"}': "0+100x40",
    'gonogo_verdicts_total{category="nut",verdict="reject"}': "0+1x40",
    'gonogo_verdicts_total{category="nut",verdict="pass"}': "0+2x40",
    'gonogo_verdicts_total{category="cog",verdict="reject"}': "0+1x40",
    'gonogo_verdicts_total{category="cog",verdict="pass"}': "0+9x40",
}
FIRING = {  # minutes since the start, and what is told then
    4: [],
    7: ['alertname="GaugeUnreachable"', 'alertname="GaugeSlow"'],
    13: [
        'alertname="GaugeUnreachable"',
        'alertname="GaugeSlow"',
        'alertname="GaugeFails", route="/v1/inspect", status="503"',
        'alertname="ManyRejects", category="nut"',
    ],
}


@needs_prometheus
def test_prometheus_takes_its_files_and_alerts_come_when_they_should(tmp_path):
    shutil.copytree(OPS, tmp_path / "ops")
    key = tmp_path / "key"
    key.write_text("k")
    config = tmp_path / "ops/prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets/metrics_key", str(key)))
    told = 'max by (alertname, route, status, category) (ALERTS{alertstate="firing"})'
    cases = [
        {
            "expr": told,
            "eval_time": f"{minutes}m",
            "exp_samples": [{"labels": f"{{{one}}}", "value": 1} for one in firing],
        }
        for minutes, firing in FIRING.items()
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    tests = tmp_path / "tests.json"
    tests.write_text(
        json.dumps(
            {
                "rule_files": [str(OPS / "alerts.yml")],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": cases}],
            }
        )
    )
    for words in (["check", "config", config], ["test", "rules", tests]):
        ran = subprocess.run([promtool, *words], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_prometheus
def test_every_panel_has_data_from_a_prometheus_that_scrapes_the_service(bundle, files, tmp_path):
    port = free_port()
    with Served(bundle, tmp_path, "--threads", "1") as served:
        config = (OPS / "prometheus.yml").read_text().replace("gonogo:8484", f"127.0.0.1:{served.port}")
        config = config.replace("/run/secrets/metrics_key", str(tmp_path / "key")).replace("10s", "1s")
        (tmp_path / "key").write_text(served.key)
        (tmp_path / "prometheus.yml").write_text(config)
        shutil.copy(OPS / "alerts.yml", tmp_path)
        words = [f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'series'}"]
        scraping = subprocess.Popen(
            [prometheus, *words, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
        )
        connection = served.connection()

        def value(expression):
            """Whether Prometheus has a number for it now, after some work for the service."""
            for body in (*(path.read_bytes() for path in files[-2:]), b"no image"):
                served.ask(connection, "POST", "/v1/inspect", body)
            query = urllib.parse.urlencode({"query": expression.replace("$__rate_interval", "10s")})
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
                    found = json.load(answer)["data"]["result"]
            except OSError:  # it has not begun to listen
                return None
            return found[0]["value"][1] if found else None

        try:
            until(lambda: time.sleep(0.2) or value('up{job="gonogo"}') == "1")
            for panel in panels():
                for one in panel["targets"]:
                    until(lambda expression=one["expr"]: value(expression) not in (None, "NaN"))
        finally:
            scraping.terminate()
            scraping.wait(300)


def unit(name):
    """The sections of a unit of systemd, each with its settings."""
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str
    found.read_string((OPS / name).read_text())
    return found


def test_the_units_of_retraining_call_a_command_of_gonogo_in_a_project_and_let_it_write_there_alone():
    service = unit("gonogo-retrain@.service")["Service"]
    program, *words = shlex.split(service["ExecStart"].replace("%i", "brick"))
    asked = parse_arguments(words)
    assert Path(program).name == "gonogo"
    assert (asked.command, asked.category, asked.promote) == ("retrain", "brick", False)
    assert service["ReadWritePaths"].split() == [service["WorkingDirectory"], str(asked.data)]
    assert service["ProtectSystem"] == "strict"
    assert unit("gonogo-retrain@.timer")["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units_of_retraining(tmp_path):
    for kind in ("service", "timer"):
        text = (OPS / f"gonogo-retrain@.{kind}").read_text().replace("/srv/gauges/.venv/bin/gonogo", "/bin/true")
        (tmp_path / f"gonogo-retrain@brick.{kind}").write_text(text.replace("%i", "brick"))
    units = [str(tmp_path / f"gonogo-retrain@brick.{kind}") for kind in ("service", "timer")]
    checked = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if "gonogo-retrain" in line]) == (0, [])
