"""docker/compose.yaml: sound, confined, and its commands are ones that our own parser takes."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from bench.cli import build_parser
from bench.commands.metrics import build_publish_options
from tests.prometheus.boards import ROOT

COMPOSE = ROOT / "docker" / "compose.yaml"
OURS = {"simulated", "cpu", "exporter"}
PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """What compose makes of the file, all profiles taken."""
    environment = {**os.environ, "ASCEND_BERT_RESULTS": str(tmp_path_factory.mktemp("results"))}
    words = ["--profile", "simulated", "--profile", "cpu", "config"]
    done = subprocess.run(
        [str(ROOT / "scripts" / "compose"), *words],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return yaml.safe_load(done.stdout)


def _read_images():
    lines = (ROOT / "docker" / "images.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_both_generations_take_the_file():
    """The first wants a version or none at all, the second warns about one."""
    plain = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    assert "version" not in plain
    assert shutil.which("docker-compose"), "scripts/install-tools installs it"


def test_images_stand_in_one_file_and_are_pinned(composed):
    images = _read_images()
    for name, service in composed["services"].items():
        image = service["image"]
        if name in OURS:
            assert image.startswith("ascend-bert:")
        else:
            assert image in images.values()
            assert re.search(r":v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$", image), image


def test_services_are_confined(composed):
    for name, service in composed["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for key in ("privileged", "network_mode", "pid", "ipc", "cap_add", "devices"):
            assert key not in service, (name, key)
        for volume in service.get("volumes", []):
            assert "docker.sock" not in str(volume), name
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)


def test_only_results_and_own_data_can_be_written(composed):
    for name, service in composed["services"].items():
        for volume in service.get("volumes", []):
            source, target, mode = str(volume).rsplit(":", 2)
            if mode != "ro":
                writes_results = name in OURS and target == "/ascend-bert/results"
                assert writes_results or source.endswith("-data"), (name, volume)


def test_commands_are_ours_to_take(composed, tmp_path):
    parser = build_parser()
    for name in OURS:
        command = composed["services"][name]["command"]
        words = shlex.split(command) if isinstance(command, str) else command
        arguments = parser.parse_args(words)
        if arguments.verb == "bench":
            options = build_publish_options(arguments, tmp_path, "session")
            assert options.listen == ("0.0.0.0", 9412)
            # Prometheus reaches the service by its name.
            assert options.advertise == name
            assert options.linger_seconds >= 30.0


def test_commands_of_the_others_have_flags_that_exist(composed):
    for name, program in PROGRAMS.items():
        path = shutil.which(program)
        assert path, f"{program} is not installed; scripts/install-tools does it"
        done = subprocess.run(
            [path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        for word in composed["services"][name]["command"]:
            assert word.split("=")[0] in done.stdout.decode(), (name, word)


def test_addresses_in_the_configurations_are_services(composed):
    config = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    targets += [
        target
        for manager in config["alerting"]["alertmanagers"]
        for group in manager["static_configs"]
        for target in group["targets"]
    ]
    for target in targets:
        assert target.split(":")[0] in {*composed["services"], "localhost"}
    source = yaml.safe_load(
        (ROOT / "docker/grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    (files,) = [job["file_sd_configs"][0]["files"] for job in config["scrape_configs"][:1]]
    results = [v for v in composed["services"]["prometheus"]["volumes"] if ":/results:ro" in str(v)]
    assert files == ["/results/prometheus/*.json"]
    assert len(results) == 1
