"""The campaign: what it attacks, and the table that it prints."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attacks.table import Row

RESULTS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: attacks write and flush thousands of files."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("faults").resolve()
        return
    with tempfile.TemporaryDirectory(prefix="vaezoo-faults-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def home(ground: Path) -> Path:
    """Runs and files that are attacked; attacks copy them."""
    from attacks.home import made

    return made(ground / "home")


@pytest.fixture
def places(ground: Path) -> Iterator[Path]:
    """Where attacks take place."""
    with tempfile.TemporaryDirectory(dir=ground) as folder:
        yield Path(folder)


@pytest.fixture
def results(request: pytest.FixtureRequest) -> list[Row]:
    """Rows of the table that is printed at the end."""
    return request.config.stash.setdefault(RESULTS, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how the attacks were met: tried, handled, badly handled."""
    rows = config.stash.get(RESULTS, [])
    if not rows:
        return
    from attacks.table import as_lines

    terminalreporter.section("attacks")
    for line in as_lines(rows):
        terminalreporter.write_line(line)
