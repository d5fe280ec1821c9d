"""Dockerfiles, references, build steps, health check and manifests, without an engine."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Dict, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
STAGES = "# The stages"


def load(name: str, monkeypatch) -> ModuleType:
    """A build step as a module; the steps import each other by name."""
    monkeypatch.syspath_prepend(str(DOCKER / "build"))
    spec = importlib.util.spec_from_file_location(name, str(DOCKER / "build" / f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_references() -> Dict[str, str]:
    """Name → reference, from ``docker/images.env``."""
    lines = (DOCKER / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_references_are_whole():
    references = read_references()
    assert len(references) >= 4
    for name, value in references.items():
        assert re.fullmatch(r"[A-Z0-9_]+_IMAGE", name)
        assert re.fullmatch(r"[a-z0-9.-]+(:\d+)?/\S+:[\w.-]+(@sha256:[0-9a-f]{64})?", value), value


def test_references_stand_in_one_file_only():
    repositories = [value.split("@")[0].rsplit(":", 1)[0] for value in read_references().values()]
    for path in DOCKER.rglob("*"):
        if path.is_file() and path.suffix not in (".md", ".env", ".json", ".svg", ".png"):
            text = path.read_text()
            for repository in repositories:
                assert repository not in text, f"{path.name}: {repository}"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_every_base_is_a_reference_or_a_stage(path):
    text = path.read_text()
    stages = re.findall(r"^FROM .* AS (\S+)$", text, flags=re.MULTILINE)
    declared = re.findall(r"^ARG ([A-Z0-9_]+)", text, flags=re.MULTILINE)
    for base in re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", text, flags=re.MULTILINE):
        name = re.fullmatch(r"\$\{([A-Z0-9_]+)\}", base)
        if name is None:
            assert base in [*stages, "scratch"], base
        else:
            assert name.group(1) in declared
    bare = re.findall(r"^ARG ([A-Z0-9_]+_IMAGE)$", text, flags=re.MULTILINE)
    assert bare and set(bare) <= set(read_references())


def test_three_images_share_their_first_stages():
    assert [path.suffix for path in DOCKERFILES] == [".ascend", ".cpu", ".harness"]
    shared = set()
    for path in DOCKERFILES:
        text = path.read_text()
        end = text.index("--wheel-dir /wheels .")
        shared.add(text[text.index(STAGES) : end])
    assert len(shared) == 1


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_images_end_alike(path):
    text = path.read_text()
    users = re.findall(r"^USER (\S+)$", text, flags=re.MULTILINE)
    assert users[-1] == "1000:1000"
    assert 'ENTRYPOINT ["dumb-init", "--single-child", "--", "ascend-bert"]' in text
    for word in ("HEALTHCHECK", "VOLUME /ascend-bert/results", "image.revision", "image.licenses"):
        assert word in text
    # Where an index is said, it would stay in the history.
    assert not re.search(r"^(ARG|ENV).*(PIP_|INDEX|TOKEN|PASSWORD)", text, flags=re.MULTILINE)


def test_context_is_what_the_images_are_made_of():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    assert lines[[line[0] == "#" for line in lines].index(False)] == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    for path in DOCKERFILES:
        for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text(), flags=re.MULTILINE):
            for source in line.split()[:-1]:
                assert any(source == name or source.startswith(name + "/") for name in kept), source


def test_pip_settings_of_the_machine_become_files(tmp_path):
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python3"
    stub.write_text(
        "#!/bin/sh\n"
        "echo \"global.index-url='https://mirror.example/simple'\"\n"
        "echo \"global.extra-index-url='file:///opt/a https://b.example/simple file:///opt/b'\"\n"
        "echo \"global.find-links='/opt/wheels'\"\n"
        f"echo \":env:.cert='{tmp_path}/ca'\"\n"
    )
    stub.chmod(0o755)
    (tmp_path / "ca").write_text("certificates\n")
    words = ["bash", "-c", '. scripts/lib/pip_settings.sh; write_pip_settings "$0"', str(tmp_path)]
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    subprocess.run(words, cwd=str(ROOT), env={"PATH": path}, check=True)
    lines = [" ".join(line.split()) for line in (tmp_path / "pip.conf").read_text().splitlines()]
    assert lines == [
        "[global]",
        "index-url = https://mirror.example/simple",
        "extra-index-url = https://b.example/simple",
        "cert = /run/secrets/ca.pem",
    ]
    assert (tmp_path / "ca.pem").read_text() == "certificates\n"


LOCK = """# made by hand
a==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via x
a==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
b-c==3.0 \\
    --hash=sha256:dd
w==1 ; sys_platform == 'win32' \\
    --hash=sha256:ee
m==1 ; platform_machine == 'aarch64' \\
    --hash=sha256:ff
"""


def test_pins_are_chosen_for_the_target(monkeypatch):
    step = load("install_for", monkeypatch)
    old = step.choose_pins(LOCK, "3.11", "x86_64")
    assert re.findall(r"^(\S+) ", old, flags=re.MULTILINE) == ["a==1.0", "b-c==3.0"]
    assert "sha256:aa" in old and "sha256:bb" in old and ";" not in old
    new = step.choose_pins(LOCK, "3.12", "aarch64")
    assert re.findall(r"^(\S+) ", new, flags=re.MULTILINE) == ["a==2.0", "b-c==3.0", "m==1"]


def test_python_of_a_root_is_found(tmp_path, monkeypatch):
    step = load("install_for", monkeypatch)
    (tmp_path / "usr/local/lib/python3").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11/os.py").touch()
    assert step.find_python_version(tmp_path) == "3.11"
    with pytest.raises(SystemExit, match="no Python under"):
        step.find_python_version(tmp_path / "usr/local")


def test_only_what_is_absent_or_out_of_range_is_missing(monkeypatch):
    step = load("list_missing", monkeypatch)
    pins = step.parse_lock(LOCK + "numpy==1.21.6 \\\n    --hash=sha256:00\n")
    assert list(pins) == ["a", "b-c", "w", "m", "numpy"]
    extras = {"ascend": ["b_c>=2"], "image": []}
    project = {"dependencies": ["numpy>=1.18"], "optional-dependencies": extras}
    ranges = step.list_ranges(project)
    installed = {"numpy": "1.18.5", "b-c": "1.0", "a": "0.1", "w": "1", "m": "1"}
    # "a" is asked for by others only, so its version is not ours to judge.
    assert step.list_missing(pins, ranges, installed) == ["b-c"]
    assert step.list_missing(pins, ranges, {}) == list(pins)


def test_root_is_copied_without_installers(tmp_path, monkeypatch):
    step = load("copy_root", monkeypatch)
    root = tmp_path / "from"
    for name in (
        *("usr/bin/apt-get", "usr/bin/bash", "usr/bin/perl", "usr/share/doc/x/copyright"),
        *("usr/share/doc/x/README", "usr/local/lib/python3.9/os.py", "etc/passwd"),
        *("usr/local/lib/python3.9/site-packages/pip/main.py", "var/lib/dpkg/status"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "usr/bin/bash").chmod(0o4755)
    (root / "usr/bin/rbash").symlink_to("bash")
    os.link(str(root / "usr/bin/bash"), str(root / "usr/bin/same"))
    step.main(str(root), str(tmp_path / "to"))
    found = sorted(
        path.relative_to(tmp_path / "to").as_posix()
        for path in (tmp_path / "to").rglob("*")
        if not path.is_dir()
    )
    assert found == [
        *("etc/passwd", "usr/bin/bash", "usr/bin/rbash", "usr/bin/same"),
        *("usr/local/lib/python3.9/os.py", "usr/share/doc/x/copyright", "var/lib/dpkg/status"),
    ]
    copied = tmp_path / "to/usr/bin/bash"
    assert copied.stat().st_mode & 0o7777 == 0o755 and copied.stat().st_nlink == 2
    assert os.readlink(str(tmp_path / "to/usr/bin/rbash")) == "bash"
    for name in ("tmp", "ascend-bert/results"):
        assert (tmp_path / "to" / name).stat().st_mode & 0o7777 == 0o1777


@pytest.fixture
def find_problem(monkeypatch):
    """The check of the container's health."""
    spec = importlib.util.spec_from_file_location("healthcheck", str(DOCKER / "healthcheck.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.find_problem


def test_health_of_the_results(find_problem, tmp_path):
    assert find_problem(str(tmp_path), "") == ""
    assert "No such file" in find_problem(str(tmp_path / "none"), "")


def test_health_of_an_endpoint(find_problem, tmp_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - name of the base class
            self.send_response(200 if self.path == "/metrics" else 503)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert find_problem(str(tmp_path), f"{url}/metrics") == ""
        assert "503" in find_problem(str(tmp_path), f"{url}/other")
        server.shutdown()
        thread.join()
    assert url in find_problem(str(tmp_path), f"{url}/metrics")
    assert "nonsense" in find_problem(str(tmp_path), "nonsense")


def test_health_check_is_a_program():
    done = subprocess.run(
        [sys.executable, "-E", "-S", str(DOCKER / "healthcheck.py")],
        stdout=subprocess.PIPE,
        check=False,
    )
    # There is no such folder outside of a container.
    assert done.returncode == 1 and b"/ascend-bert/results" in done.stdout


@pytest.fixture
def pin(tmp_path):
    """Runs a copy of ``scripts/docker-pin`` with a stand-in for skopeo; returns code and file."""
    for name in ("scripts/docker-pin", "scripts/lib/images.sh", "docker/images.env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(ROOT / name), str(tmp_path / name))
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "skopeo"
    stub.write_text(
        '#!/bin/sh\n[ "$1 $2" = "inspect --raw" ] || exit 9\n'
        'case $3 in *ascend*) echo "unauthorized" >&2; exit 1 ;; esac\nprintf %s "$3"\n'
    )
    stub.chmod(0o755)

    def run(*words: str) -> Tuple[int, str]:
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            [str(tmp_path / "scripts/docker-pin"), *words],
            env={"PATH": path},
            stderr=subprocess.PIPE,
            check=False,
        )
        assert not list((tmp_path / "docker").glob("images.env.*"))
        return done.returncode, (tmp_path / "docker/images.env").read_text()

    return run


def test_digests_are_written_beside_the_tags(pin):
    before = (DOCKER / "images.env").read_text()
    code, after = pin("PYTHON_IMAGE")
    reference = read_references()["PYTHON_IMAGE"].partition("@")[0]
    digest = hashlib.sha256(f"docker://{reference}".encode()).hexdigest()
    assert code == 0 and f"PYTHON_IMAGE={reference}@sha256:{digest}\n" in after
    changed = [pair for pair in zip(before.splitlines(), after.splitlines()) if pair[0] != pair[1]]
    assert len(changed) == 1 and len(before.splitlines()) == len(after.splitlines())
    assert pin("PYTHON_IMAGE") == (0, after)


def test_registry_that_refuses_leaves_the_file_as_it_was(pin):
    code, after = pin()
    assert code == 6 and after == (DOCKER / "images.env").read_text()
