import subprocess
import sys

from vaezoo.parts import LIKELIHOODS


def printed(code: str) -> str:
    """What a fresh process prints, which has imported nothing yet."""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_choice_is_there_before_its_file_is_imported() -> None:
    code = "from vaezoo.objectives.base import OBJECTIVES; print(OBJECTIVES.find('rae').__name__)"
    assert printed(code) == "RAE\n"


def test_choices_have_one_order() -> None:
    code = "from vaezoo.parts import StudentT, LIKELIHOODS; print(*LIKELIHOODS.choices)"
    assert printed(code).split() == list(LIKELIHOODS.choices)


def test_name_of_a_file_that_is_not_imported_is_taken() -> None:
    code = """
from vaezoo.errors import RequestError
from vaezoo.objectives.base import OBJECTIVES
try:
    OBJECTIVES.register("rae")(type("Mine", (), {"__module__": "elsewhere"}))
except RequestError as error:
    print(error)
"""
    line = "the objective 'rae' belongs to vaezoo.objectives.penalties.slopes:RAE already\n"
    assert printed(code) == line
