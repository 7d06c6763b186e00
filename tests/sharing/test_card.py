"""The card of a run says what is true of it, in a form that a hub reads."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from vaezoo import RequestError, evaluate, load_run, write_card
from vaezoo.data import SOURCES
from vaezoo.pretrained import get_pretrained
from vaezoo.sharing import describe_run

huggingface_hub = pytest.importorskip("huggingface_hub")

VAE, MUSIC, CODES = "vae-bernoulli.digits", "vrnn.jsb", "ae.digits"
STATES = "dmm.oscillators"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run folder that may be written to."""
    kept = shutil.ignore_patterns("evaluation.json")  # other tests may have evaluated it
    return Path(shutil.copytree(trained, tmp_path / "run", ignore=kept))


def section(card: str, name: str) -> str:
    return card.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_the_hub_reads_the_metadata() -> None:
    card = huggingface_hub.ModelCard(describe_run(VAE, licence="apache-2.0"))
    assert (card.data.library_name, card.data.license) == ("vaezoo", "apache-2.0")
    assert card.data.pipeline_tag == "unconditional-image-generation"


def test_the_hub_reads_the_scores() -> None:
    results = huggingface_hub.ModelCard(describe_run(MUSIC)).data.eval_results
    bound = load_run(MUSIC).evaluations[-1]["result"]["iwae"][0]["value"]
    values = {result.metric_type: result.metric_value for result in results}
    assert values["log-likelihood"] == pytest.approx(bound, abs=1e-4)


def test_the_score_stands_with_its_error_and_its_number_of_draws() -> None:
    bound = load_run(MUSIC).evaluations[-1]["result"]["iwae"][0]
    line = f"| IWAE 100 | {bound['value']:.3f} ± {bound['standard_error']:.3f} |"
    assert line in section(describe_run(MUSIC), "Scores")


def test_the_exact_density_stands_beside_a_bound_on_it() -> None:
    exact, bound = SOURCES["oscillators"].exact["test"], get_pretrained(STATES).value
    said = section(describe_run(STATES), "Scores")
    assert f"{exact:.3f}, known exactly: the best bound lies {exact - bound:.3f} below" in said


def test_formulas_are_those_of_show() -> None:
    assert "p(x, z)  = prod_t N(z_t; mu(h_t)" in section(describe_run(MUSIC), "Model")


def test_the_licence_of_the_data_is_named() -> None:
    assert "| licence | none stated; the chorales are public" in describe_run(MUSIC)


def test_no_licence_is_made_up(run: Path) -> None:
    card = describe_run(run)
    assert "None is stated" in section(card, "Licence")
    assert "\nlicense:" not in card


def test_weights_of_vaezoo_are_under_its_licence() -> None:
    card = describe_run(VAE)
    assert "apache-2.0" in section(card, "Licence")
    assert '\nlicense: "apache-2.0"' in card


def test_use_is_what_a_run_can_do() -> None:
    uses = [section(describe_run(name), "Use") for name in (VAE, CODES)]
    assert [re.findall(r"vaezoo (\w+) RUN", use) for use in uses] == [
        ["sample", "evaluate", "analyse"],
        ["reconstruct", "evaluate", "encode"],
    ]


def test_an_autoencoder_has_no_posterior() -> None:
    assert section(describe_run(CODES), "Posterior").strip().startswith("It has none")


def test_a_run_that_nobody_evaluated_says_so(run: Path) -> None:
    assert "Not evaluated" in section(describe_run(run), "Scores")


def test_all_rows_come_before_some_of_them(run: Path) -> None:
    evaluate(run, iwae=(2,))
    evaluate(run, iwae=(2,), limit=5)
    assert "180 test rows" in section(describe_run(run), "Scores")


def said_of_posteriors(run: Path, **analysis: Any) -> str:
    """Return what the card says of an analysis of a run's weights."""
    info = load_run(run).info
    subject = {"weights": f"epoch {info['best_epoch']}, step {info['best_step']}"}
    (run / "analysis").mkdir()
    (run / "analysis/report.json").write_text(json.dumps({"subject": subject, **analysis}))
    return section(describe_run(run), "Posterior")


def test_shares_of_an_analysis_are_named(run: Path) -> None:
    said = said_of_posteriors(
        run,
        plan={"level": "standard", "num_data": 100},
        shares={"trusted": 0.25, "repaired": 0.75, "not trusted": 0.0},
    )
    assert "level standard, 100 data: 25% trusted, 75% repaired, 0% not trusted" in said


def test_a_quick_look_says_how_many_it_does_not_contradict(run: Path) -> None:
    said = said_of_posteriors(
        run,
        plan={"level": "quick", "num_data": 20},
        shares={},
        page={"lines": [["posterior", "not contradicted 16 of 20: by draws", ""]]},
    )
    assert "level quick, 20 data: not contradicted 16 of 20: by draws" in said


def test_a_pair_of_a_file_is_to_be_read_before_it_is_named(trained_from_file: Path) -> None:
    assert "read that file, then name it, `model='model.py'`" in describe_run(trained_from_file)


def test_a_path_on_this_machine_is_not_told(trained_from_file: Path) -> None:
    assert str(trained_from_file.parent) not in describe_run(trained_from_file)


def test_a_card_of_vaezoo_is_written_anew(run: Path) -> None:
    first = write_card(run).read_text(encoding="utf-8")
    evaluate(run, iwae=(2,), limit=5)
    assert write_card(run).read_text(encoding="utf-8") != first


@pytest.mark.parametrize("change", ["# My run\n", None], ids=["own", "changed"])
def test_what_a_person_wrote_stays(run: Path, change: str | None) -> None:
    card = write_card(run)
    text = change or card.read_text(encoding="utf-8").replace("## Limits", "## My limits")
    card.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match="by hand, and stays as it is; choose another `out`"):
        write_card(run)
    assert card.read_text(encoding="utf-8") == text


def test_command_writes_into_the_run(vaezoo: Callable[..., Result], run: Path) -> None:
    result = vaezoo("card", run, "--json")
    assert json.loads(result.stdout)["card"] == str(run / "README.md")
    assert re.match("---\nlibrary_name: ", (run / "README.md").read_text(encoding="utf-8"))
