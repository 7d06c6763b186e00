"""The page of a run: what stands on it, for whatever run."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

import vaezoo as library
from vaezoo import RequestError, Run, load_run, write_page
from vaezoo.plots.figures import drawing
from vaezoo.report.pages.of_run import AGAIN
from vaezoo.runs.stamps import DESCRIPTION, read_stamp, stamp_of_weights

SMALL = {"z_dim": 2}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its page, in a folder whose name would be HTML; not to be changed."""
    folder = tmp_path_factory.mktemp("page") / "R&D"
    library.fit("vae-linear", config=SMALL, training={"steps": 5}, out=folder)
    page, *figures = write_page(folder)
    assert page == folder / "report.html"
    assert {path.name for path in figures} == {
        "samples.png", "reconstructions.png", "curves.png", "latents.png",
    }  # fmt: skip
    with drawing(load_run(folder), "codes.png") as path:
        Image.new("L", (20, 20)).save(path)  # for pages to come, a map that costs nothing
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(original, tmp_path / original.name))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is told; nothing unless a test takes it out."""
    lines: list[str] = []
    yield lines
    assert lines == []


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_page_needs_nothing_else(original: Path) -> None:
    content = text_of(original / "report.html")
    assert "<title>R&amp;D</title>" in content
    assert not re.search(r"<script|<link|@import|url\(", content)
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)
    assert content.count("<figure") == content.count("<figcaption>") == 5  # with a map of codes


def test_what_is_drawn_is_not_drawn_again(folder: Path, said: list[str]) -> None:
    before = (folder / "figures" / "samples.png").stat().st_mtime_ns
    assert write_page(folder, notify=said.append) == [folder / "report.html"]
    assert (folder / "figures" / "samples.png").stat().st_mtime_ns == before


def test_numbers_are_of_the_validation_until_there_is_an_evaluation(folder: Path) -> None:
    run = load_run(folder)
    elbo = run.metrics[-1]["validation"]["elbo"]
    content = text_of(folder / "report.html")
    assert "Of the validation rows in epoch 1" in content
    assert f"{elbo:.3f}" in content
    assert "probabilistic PCA, fitted to training rows" in content
    result = library.evaluate(run, iwae=(7,), limit=20)
    content = text_of(write_page(run)[0])
    assert "Of 20 test rows of digits" in content
    assert f"{result.iwae[0].value:.3f} ± " in content
    assert "Of the validation rows" not in content


def test_analysis_is_a_part(original: Path, folder: Path) -> None:
    assert "vaezoo analyse RUN" in text_of(original / "report.html")
    library.save_report(library.analyse(folder, limit=2, level="quick"), folder / "analysis")
    path = folder / "analysis" / "report.json"
    path.write_text(text_of(path).replace("k-hat", "<img onerror=x>"), encoding="utf-8")
    content = text_of(write_page(folder)[0])
    assert "2 of 180 test data of digits, level quick" in content
    assert '<figure id="khat"' in content
    assert "This is of other weights" not in content
    assert "<img onerror" not in content  # whoever wrote it


def test_what_is_of_other_weights_is_not_taken_for_theirs(folder: Path) -> None:
    run = load_run(folder)
    library.evaluate(run, iwae=(1,), limit=20)
    library.save_report(library.analyse(run, limit=2, level="quick"), folder / "analysis")
    library.resume(folder, epochs=2)
    content = text_of(write_page(folder)[0])
    assert "This is of other weights, of epoch 1" in content
    assert "Of the validation rows in epoch 2" in content


def test_damaged_analysis_is_left_out(folder: Path, said: list[str]) -> None:
    (folder / "analysis").mkdir()
    (folder / "analysis" / "report.json").write_text("{", encoding="utf-8")
    assert "It was not analysed" in text_of(write_page(folder, notify=said.append)[0])
    assert "report.json is damaged; analyse again" in said.pop()


def test_settings_on_the_page_make_the_same_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = text_of(folder / "report.html")
    assert AGAIN.splitlines()[-1].partition("(")[0] in content
    monkeypatch.chdir(folder)
    names: dict[str, Run] = {}
    exec(AGAIN, names)  # as a reader would
    assert names["run"].metrics[-1]["validation"] == load_run(folder).metrics[-1]["validation"]


def test_run_in_memory(tmp_path: Path) -> None:
    run = library.fit("vae-linear", config=SMALL, training={"steps": 5})
    with pytest.raises(RequestError, match="give `path`"):
        write_page(run)
    assert write_page(run, tmp_path / "x.html") == [tmp_path / "x.html"]
    content = text_of(tmp_path / "x.html")
    assert content.count("<figure") == 5
    assert "z_dim = 2" in content
    assert run.path is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("rnn", ("moving codes needs latents, and run has none", "in nats per frame")),
        ("ae-linear", ("reconstruction", "log p(x | z)", "It has none: the guide")),
    ],
)
def test_page_of_other_pairs(model: str, words: tuple[str, ...], tmp_path: Path) -> None:
    config = {"hidden": 4} if model == "rnn" else SMALL
    run = library.fit(model, config=config, training={"steps": 2}, out=tmp_path / "run")
    content = text_of(write_page(run)[0])
    assert all(text in content for text in words)
    assert "@" in content or "There is no BibTeX" in content


def test_page_of_a_pair_from_a_file(trained_from_file: Path, tmp_path: Path) -> None:
    page = write_page(trained_from_file, tmp_path / "x.html", notify=lambda line: None)[0]
    assert "There is no BibTeX of a paper for" in text_of(page)


def test_untrained_samples_say_so(original: Path) -> None:
    assert ">untrained</span>" in text_of(original / "report.html")
    with Image.open(original / "figures" / "samples.png") as picture:
        note = picture.info[DESCRIPTION]
    assert re.search(r"; untrained: ELBO -?[\d.]+, independent elements -?[\d.]+ nats$", note)


def test_a_picture_that_a_user_names_says_whose_it_is(
    folder: Path, vaezoo: Callable[..., Result]
) -> None:
    assert vaezoo("sample", folder, "-n", 4, "-o", "x.png").exit_code == 0
    stamp = read_stamp(Path("x.png"))
    assert stamp == stamp_of_weights(load_run(folder))
    with Image.open("x.png") as picture:
        assert "; untrained: ELBO" in picture.info[DESCRIPTION]
