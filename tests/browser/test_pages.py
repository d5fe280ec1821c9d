"""The page of a night in a real browser, and its files under the tools that others check with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.cli import main
from bench.judge.baselines import promote_launches, write_baseline
from bench.results.model import Failure
from tests.browser.chromium import Page, open_browser
from tests.report_pages import HOSTILE
from tests.stored_nights import STEADY, build_night, build_run, scale, store, to_launches

WIDTHS = {"desktop": 1280, "phone": 390}
SCHEMA = Path(__file__).resolve().parent / "junit.xsd"


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A simulated session of two card counts, then a night that lost 4 %, judged."""
    output = tmp_path_factory.mktemp("night")
    flags = ["--backend", "simulated", "--cards", "1,2", "--steps", "150", "--repeats", "2"]
    assert main(["bench", "--output", str(output / "own"), *flags, "--quiet"]) == 0
    assert main(["report", "--output", str(output / "own"), "-o", str(output / "run.html")]) == 0
    for number in range(12):
        store(output, build_night(number, scale(STEADY, 1.0 + 0.001 * (number % 3))))
    store(output, build_night(12, scale(STEADY, 0.96)))
    first = to_launches([run for n in range(3) for run in build_night(n, STEADY)])
    (output / "baselines").mkdir()
    chosen = promote_launches([], first, "2026-03-04T00:00:00Z", "me", HOSTILE, False)
    write_baseline(output / "baselines" / "nightly.json", chosen)
    assert main(["nightly", "--output", str(output), "--measured"]) == 1
    shutil.copy(str(output / "nightly" / "report.html"), str(output / "red.html"))
    shutil.copy(str(output / "nightly" / "junit.xml"), str(output / "red.xml"))
    failure = Failure("trainer", HOSTILE, 0, 1)
    store(output, [build_run(20, 1, None, failure=failure, facts={"host_name": HOSTILE})])
    assert main(["nightly", "--output", str(output), "--measured"]) == 4
    shutil.copy(str(output / "nightly" / "report.html"), str(output / "failed.html"))
    shutil.copy(str(output / "nightly" / "junit.xml"), str(output / "failed.xml"))
    return output


PAGES = ("run.html", "red.html", "failed.html")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab of a browser of its own."""
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield Page(browser)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_for_nothing_and_fits_the_screen(night, tab, tmp_path, name, kind, dark):
    tab.show(night / name, WIDTHS[kind], dark, phone=kind == "phone")
    assert tab.list_requests() == [(night / name).resolve().as_uri()]
    assert tab.list_complaints() == []
    assert tab.ask("document.documentElement.scrollWidth") == WIDTHS[kind]
    ground = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(15, 20, 25)" if dark else "rgb(255, 255, 255)")
    tab.take_picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_texts_of_plots_are_large_enough_and_do_not_leave_the_drawing(night, tab):
    """At both widths every text of a plot is at least 9 pixels high and inside its drawing."""
    for kind, width in WIDTHS.items():
        tab.show(night / "run.html", width, phone=kind == "phone")
        found = tab.ask(
            """[...document.querySelectorAll('figure svg text')].map(text => {
                const own = text.getBoundingClientRect();
                const all = text.ownerSVGElement.getBoundingClientRect();
                return [text.textContent, own.height, own.left - all.left, all.right - own.right];
            }).filter(item => item[1] > 0)"""
        )
        assert len(found) > 100
        for text, height, left, right in found:
            assert height >= 9.0, (kind, text)
            assert left >= -2.0 and right >= -2.0, (kind, text)


def test_what_the_logs_and_names_say_is_not_run(night, tab):
    tab.show(night / "failed.html", 1280)
    assert tab.ask("document.querySelectorAll('script, img, iframe, object').length") == 0
    assert "<script>alert(1)</script>" in tab.ask("document.body.innerText")
    # The policy holds also against a script that got in by another way.
    tab.ask(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.got = 1';"
        "document.body.append(s); const i = new Image(); i.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(i); })()"
    )
    assert tab.ask("window.got === undefined") is True
    assert any("Content Security Policy" in text for text in tab.list_complaints())
    assert not [address for address in tab.list_requests() if "127.0.0.1" in address]


def test_the_page_can_be_printed_and_read_by_headings(night, tab):
    tab.show(night / "red.html", 1280)
    assert len(tab.call("Page.printToPDF", printBackground=True)["data"]) > 20_000
    levels = tab.ask("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    assert tab.ask("document.querySelector('.word').innerText") == "✗ REGRESSION"
    assert tab.ask("document.querySelector('.word').getBoundingClientRect().top") < 300


@pytest.mark.parametrize("name", PAGES)
def test_the_html_is_valid(night, name):
    """HTML Tidy has nothing to say of it."""
    done = subprocess.run(
        ["tidy", "-errors", "-quiet", "-utf8", str(night / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


@pytest.mark.parametrize("name", ["red.xml", "failed.xml"])
def test_the_junit_file_keeps_the_schema(night, name):
    done = subprocess.run(
        ["xmllint", "--noout", "--nonet", "--schema", str(SCHEMA), str(night / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
