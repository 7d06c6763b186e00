"""``python -m vaezoo.sweeps.worker``: one of the processes of a sweep, which reads what to do."""

import json
import os
import sys
from pathlib import Path

import torch

from vaezoo.errors import VaezooError
from vaezoo.runtime.signals import termination_interrupts
from vaezoo.sweeps.study import working
from vaezoo.sweeps.trying import Request, try_all

__all__: list[str] = []


def _main() -> int:
    values = json.loads(sys.stdin.read())
    if "OMP_NUM_THREADS" not in os.environ:  # the processes share the processors
        torch.set_num_threads(max(1, torch.get_num_threads() // values["jobs"]))
    folder = Path(values["folder"])
    try:
        with termination_interrupts(), working(folder) as worker:
            try_all(Request.from_dict(values), folder, worker)
    except KeyboardInterrupt:
        return 130
    except VaezooError as error:  # the reason stands in the journal
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
