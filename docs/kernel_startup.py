"""Runs in the kernel of every page: ``%%bash`` prints in one piece, and its failure is one."""

import subprocess
import warnings

from IPython import get_ipython

# tqdm asks notebooks for widgets that a page cannot show.
warnings.filterwarnings("ignore", message="IProgress not found")


def bash(line: str, cell: str) -> None:
    """Run the lines of a cell; errors stand where they happen."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", cell],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}")


get_ipython().register_magic_function(bash, "cell")
