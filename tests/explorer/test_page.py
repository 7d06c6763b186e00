"""The pages, as text and in a browser."""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import vaezoo
from vaezoo import RequestError
from vaezoo.cli import main
from vaezoo.data import from_arrays
from vaezoo.diagnostics.grading import WORDS
from vaezoo.explorer.exploring import Explorer
from vaezoo.explorer.server import PageServer
from vaezoo.runs.stamps import stamp_of_weights
from vaezoo.trees.files import save_tree

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits."""
    folder = tmp_path_factory.mktemp("explore") / "run"
    vaezoo.fit("vae-bernoulli", config={"z_dim": 3}, training={"steps": 300}, out=folder)
    return folder


@pytest.fixture(scope="module")
def explorer(folder: Path) -> Explorer:
    return vaezoo.explore(folder, limit=20, num_values=3)


@pytest.fixture
def dom(tmp_path: Path) -> Callable[[str], str]:
    """Return what a page looks like to a browser when its scripts have run."""

    def load(address: str) -> str:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/home"]
        wait = ["--virtual-time-budget=20000", "--dump-dom"]
        command = [str(CHROMIUM), *flags, *wait, address]
        try:
            done = subprocess.run(command, capture_output=True, timeout=200, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            pytest.skip(f"Chromium does not start here: {error}")
        return done.stdout.decode()

    return load


def acting(page: str, script: str) -> str:
    """Return a page that does something once it is there, and says so in its title."""
    (nonce,) = set(re.findall(r'<script nonce="([^"]*)"', page))
    return page.replace("</body>", f'<script nonce="{nonce}">{script}</script></body>')


SLIDE = """
const finished = setInterval(() => {
  if (!current || document.title !== "run") return;
  document.title = "sliding";
  const slider = document.querySelector("#sliders input");
  slider.value = 0.5;
  slider.dispatchEvent(new Event("input"));
  setInterval(() => {
    const {output, place} = sliders[0];
    if (current.values[place] === 0.5) document.title = `at ${output.textContent}`;
  }, 50);
}, 50);
"""


@pytest.fixture
def server(explorer: Explorer) -> Iterator[PageServer]:
    with explorer.serving() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@in_browser
def test_a_slider_moves_the_code(server: PageServer, dom: Callable[[str], str]) -> None:
    server.page = acting(server.page, SLIDE)
    page = dom(server.url)
    assert "<title>at 0.50</title>" in page
    assert re.search(r"<figcaption>row 0, label \d</figcaption>", page)


@in_browser
@pytest.mark.slow
def test_keys_go_to_the_next_datum(server: PageServer, dom: Callable[[str], str]) -> None:
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'n'}))"
    server.page = acting(server.page, f"setTimeout(() => {press}, 3000)")
    assert re.search(r"<figcaption>row 1, label \d</figcaption>", dom(server.url))


@in_browser
@pytest.mark.slow
def test_a_walk_shows_the_other_datum(server: PageServer, dom: Callable[[str], str]) -> None:
    server.page = acting(server.page, "setTimeout(() => walk(5), 3000)")
    page = dom(server.url)
    assert re.search(r"<figcaption>row 5, label \d</figcaption>", page)
    assert 'id="other"><div><canvas' in page


@in_browser
@pytest.mark.slow
def test_a_failure_is_said_on_the_page(server: PageServer, dom: Callable[[str], str]) -> None:
    server.page = acting(server.page, "setTimeout(() => { state.row = 99; decode(); }, 3000)")
    assert "`row` is a row, 0 to 19, not 99</p>" in dom(server.url)


@in_browser
@pytest.mark.slow
def test_one_file_works_from_disk(
    explorer: Explorer, tmp_path: Path, dom: Callable[[str], str]
) -> None:
    explorer.save(tmp_path / "explore.html")
    page = dom((tmp_path / "explore.html").as_uri())
    middle = [(p.min() + p.max()) / 2 for p in explorer.space.plane.points.T]
    at = ", ".join(f"{value:.2f}" for value in middle)
    assert f"<figcaption>at ({at})</figcaption>" in page.replace("-0.00", "0.00")


@pytest.fixture(scope="module")
def sequences() -> Explorer:
    """Sequences of 3 to 5 frames."""
    x = np.random.default_rng(0).integers(0, 2, size=(12, 5, 2))
    data = from_arrays(x, length=np.arange(12) % 3 + 3)
    run = vaezoo.fit("vrnn", data, config={"hidden": 4, "z_dim": 3}, training={"steps": 1})
    return vaezoo.explore(run, split="all", row=2, num_values=3)


WALK = """
const finished = setInterval(() => {
  if (!current) return;
  clearInterval(finished);
  by("frame").value = 3;
  by("frame").dispatchEvent(new Event("input"));
  setInterval(() => {
    const reached = state.frame === 3 && map.path.length === 5 && current.values;
    if (reached) document.title = `at ${reached.map(v => v.toFixed(3))}, ${map.place}`;
  }, 50);
}, 50);
"""


@in_browser
def test_a_sequence_is_walked_along(sequences: Explorer, dom: Callable[[str], str]) -> None:
    with sequences.serving() as server:
        server.page = acting(server.page, WALK)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        page = dom(server.url)
        server.shutdown()
    values = ",".join(f"{value:.3f}" for value in sequences.space.values_along(2)[3])
    assert f"<title>at {values}, " in page
    assert '<output id="frame-number">frame 4 of 5</output>' in page


@in_browser
@pytest.mark.slow
def test_one_file_walks_along_a_sequence(
    sequences: Explorer, tmp_path: Path, dom: Callable[[str], str]
) -> None:
    page = acting(sequences.page(), "setTimeout(() => walkTo(3), 3000)")
    (tmp_path / "explore.html").write_text(page, encoding="utf-8")
    some = (sequences.space.used or [0, 1, 2])[:6]
    values = [
        f"{sequences.space.units[i].name} {sequences.space.values_along(2)[3, i]:.2f}" for i in some
    ]
    shown = dom((tmp_path / "explore.html").as_uri())
    assert f"frame 4 of 5: {', '.join(values)}<" in shown


def test_a_frame_comes_with_its_way(sequences: Explorer) -> None:
    answer = sequences._path({"row": "1"})
    assert np.array_equal(answer["places"], sequences.space.path(1))
    assert np.shape(answer["covariances"]) == (4, 2, 2)


@pytest.mark.parametrize("frame", [5, -1, 1.5, True, "x"])
def test_frames_that_there_are_not_are_refused(sequences: Explorer, frame: object) -> None:
    with pytest.raises(RequestError, match="`frame` is a frame, 0 to 4"):
        sequences._decode({"row": 2, "frame": frame})


def test_one_file_needs_no_other(explorer: Explorer) -> None:
    page = explorer.page()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", page)


def test_names_from_elsewhere_are_only_text(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    table = tmp_path / "a.csv"
    rows = "\n".join(",".join(map(str, row)) for row in x)
    table.write_text(f"</script><b>,{{{{title}}}}\n{rows}\n")
    run = vaezoo.fit("vae-gaussian", str(table), training={"steps": 2})
    page = vaezoo.explore(run, limit=5, split="train").page()
    assert "</script><b>" not in page
    assert "\\u003c/script>\\u003cb>" in page.replace("\\u003e", ">")
    assert "{{title}}" in page


def test_a_notebook_shows_the_page(explorer: Explorer) -> None:
    shown = explorer._repr_html_()
    assert html.escape(explorer.page()) in shown
    assert 'sandbox="allow-scripts"' in shown


@pytest.fixture
def analysed(folder: Path) -> Iterator[Path]:
    """What an analysis of three test rows leaves in the folder of a run."""
    place = folder / "analysis"
    place.mkdir()
    rows = {"verdict": [0, 1, 2], "grade_mean_shift": [0, 2, 0], "grade_modes": [0, 0, 1]}
    table = xr.Dataset({name: ("datum", values) for name, values in rows.items()})
    save_tree(xr.DataTree.from_dict({"per_datum": table}), place / "diagnostics.nc")
    weights = str(stamp_of_weights(vaezoo.load_run(folder)))
    subject = {"weights": weights, "data": "digits", "split": "test"}
    (place / "report.json").write_text(json.dumps({"subject": subject}))
    yield place
    shutil.rmtree(place)


def test_verdicts_are_those_of_the_analysis(folder: Path, analysed: Path) -> None:
    verdicts = vaezoo.explore(folder, limit=5).verdicts
    assert verdicts is not None
    assert verdicts.words == ("trusted", "repaired", "not trusted")
    assert verdicts.reasons[:2] == ("", WORDS["mean_shift"])


def test_verdicts_on_other_rows_are_left_out(folder: Path, analysed: Path) -> None:
    assert vaezoo.explore(folder, limit=5, split="train").verdicts is None


def test_an_analysis_that_cannot_be_read_is_left_out(folder: Path, analysed: Path) -> None:
    (analysed / "report.json").write_text("{")
    notes: list[str] = []
    assert vaezoo.explore(folder, limit=5, notify=notes.append).verdicts is None
    assert len(notes) == 1
    assert notes[0].startswith("left out: verdicts of the analysis")


def test_the_command_writes_one_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "explore.html"
    words = ["explore", str(folder), "--static", "--num-values", "3", "-o", str(out)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("vae-bernoulli on digits: codes of 180 data (test), ")
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_file_without_static_is_refused(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["explore", str(folder), "-o", str(tmp_path / "a.html")])
    assert result.exit_code != 0
    assert not (tmp_path / "a.html").exists()


def test_ctrl_c_ends_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: PageServer, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    result = CliRunner().invoke(main, ["explore", str(folder), "--no-browser", "-n", "5"])
    assert result.exit_code == 0, result.output
    assert re.search(r"^http://127\.0\.0\.1:\d+/[\w-]{32}/$", result.output, re.M)
    assert result.output.endswith("ended\n")
