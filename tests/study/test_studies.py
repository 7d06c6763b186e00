"""Each study is one short file that runs; what is listed needs no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import vaezoo.studies
from vaezoo.study import get_study, list_studies, run_study
from vaezoo.study.design import SCALES

FOLDER = Path(vaezoo.studies.__file__).parent
MOST_LINES = 120


@pytest.mark.parametrize("name", list_studies())
def test_study_runs(name: str, tmp_path: Path) -> None:
    result = run_study(name, scale="smoke", out=tmp_path / name)
    assert result.rows
    assert result.failed == ()
    assert (tmp_path / name / "page.html").is_file()


@pytest.mark.parametrize("name", list_studies())
def test_study_is_one_short_file(name: str) -> None:
    file = FOLDER / f"{name.replace('-', '_')}.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", list_studies())
def test_study_states_its_hypothesis_before(name: str) -> None:
    study = get_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    for part in ("Asked:", "Hypothesis\n", "Refuted by\n", "Limits\n"):
        assert part in study.text, part
    assert tuple(study.scales) == SCALES


def test_listing_studies_loads_no_torch() -> None:
    code = "import sys; from vaezoo.study import get_study, list_studies"
    code += "; [get_study(name) for name in list_studies()]"
    check = "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code + check], check=True)
