"""Attacks on everything that vaezoo reads, writes and runs: how many, and how they were met.

The attacks are those of ``tests/faults``, all of them, or so many of each kind. Runs on Linux.

    python benchmarks/faults.py                 all of them, one hour on one core
    python benchmarks/faults.py --most 20       so many of each kind
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import write

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--most", type=int, default=10**9, help="of each kind [default: all]")
parser.add_argument("--seed", type=int, default=0, help="of the choice [default: 0]")

TEXT = """
Each attack is one thing that goes wrong, in a process and a folder of its own. *Handled*: it worked
with the same results, or it failed with one line for a person and the right exit code, and what was
begun could be ended with the same bits. *Badly handled*: a traceback, silence, another exit code, a
hang, more than 4 GB of memory, control characters, work that is lost, a state or numbers that
differ without a word, a file written through a link, or code that was executed. Whoever knows an
attack that is missing adds a line in `tests/faults/attacks`. {chosen}Seed {seed}.
"""


def main() -> None:
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vaezoo-faults-") as folder:
        rows = campaign(Path(folder).resolve(), options.most, options.seed)
    from attacks.table import as_cells

    part = f"At most {options.most} of each kind. " if options.most < 10**9 else ""
    text = TEXT.format(chosen=part, seed=options.seed).strip().replace("\n", " ")
    write("faults", "What was attacked, and how was it met?", text, as_cells(rows), began)


def campaign(folder: Path, most: int, seed: int) -> list[Any]:
    """Return the rows of the table; nothing of the user's own home is touched."""
    homes = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    os.environ.update(dict.fromkeys(homes, str(folder)), MPLBACKEND="Agg", OMP_NUM_THREADS="1")
    os.environ.pop("VAEZOO_DATA", None)
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))
    import torch

    from attacks.fields import FIELDS, attacks_of
    from attacks.home import made
    from attacks.table import chosen, tried

    torch.set_num_threads(1)
    home = made(folder / "home")
    rows = []
    for field in FIELDS:
        attacks = chosen(attacks_of(field, home), most, seed)
        print(f"{field}: {len(attacks)} attacks", file=sys.stderr, flush=True)
        rows += tried(attacks, folder / field, lambda line: print(line, file=sys.stderr))
    return rows


if __name__ == "__main__":
    main()
