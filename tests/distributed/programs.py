"""What the processes of these tests run; each leaves what it has found in a file of its own."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
import torch.distributed
from torch import Tensor, nn

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Data
from vaezoo.data.transform import Transform
from vaezoo.distributed.processes import Processes, joined
from vaezoo.distributed.shared_step import SharedStep
from vaezoo.engine.gradients import loss_and_gradients
from vaezoo.engine.groups import Optimizers
from vaezoo.engine.optimizers import Optimizer
from vaezoo.errors import NonFiniteError
from vaezoo.objectives import ELBO
from vaezoo.pairs.sites import argument_names
from vaezoo.sequences.windows import Update
from vaezoo.settings import Training

CPU = torch.device("cpu")


class Norms(nn.Module):
    """A pair with batch normalisation, that is with buffers which a step changes."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(x_shape[0], 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
        self.decoder = nn.Linear(2, x_shape[0])

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z)."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x)."""
        loc, scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


class Plain(Norms):
    """The same without the normalisation."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__(x_shape=x_shape)
        self.encoder[1] = nn.Identity()


class Still(nn.Module):
    """A pair whose guide gives each latent one value: its loss has no noise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)

    def model(self, x: Tensor, length: Tensor) -> None:
        """p(z) p(x | z), of as many frames as each sequence has."""
        frames = torch.arange(x.shape[1]) < length[:, None]
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            mean = self.decoder(z)[:, None].expand(x.shape)
            p = dist.Normal(mean, 1.0).mask(frames[..., None]).to_event(2)
            pyro.sample("x", p, obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """A point for each sequence."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x[:, 0]), event_dim=1))


def rows(num_rows: int, size: int) -> Tensor:
    return torch.randn(num_rows, size, generator=torch.Generator().manual_seed(0))


def sequences() -> Data:
    x = rows(11 * 5, 3).view(11, 5, 3).numpy()
    length = torch.tensor([5, 1, 4, 2, 3, 5, 5, 1, 2, 3, 4]).numpy()
    return from_arrays(x, length=length)


def gradients(processes: Processes, data: Data, pair: nn.Module, num_rows: int) -> list[Tensor]:
    """Return loss, divisor, and gradients on the first rows, of which this process has a part."""
    batches = Batches(data, Transform(), argument_names(pair), CPU)
    optimizer = Optimizers({"pair": Optimizer("adam", [*pair.parameters()], lr=0.1)})
    training = Training(clip_norm=0.5)
    step = SharedStep(processes, batches, pair, optimizer, training)
    function = loss_and_gradients(
        pair,
        ELBO(),
        optimizer.parameters,
        batches.finish,
        max_norm=0.5,
        precision="float32",
        masked=False,
    )
    raw = batches.gather("train", step.part(Update(torch.arange(num_rows))).rows)
    outcome = function((torch.ones(()), torch.zeros(()), *raw))
    return list(step(outcome) if processes.are_many else outcome)


def fitted(model: Any, **training: Any) -> dict[str, Tensor]:
    data = from_arrays(rows(75, 4).numpy())
    run = vaezoo.fit(model, data, training={"steps": 50, "batch_size": 16, **training})
    return {name: value.clone() for name, value in run.pair.state_dict().items()}


def not_finite(processes: Processes) -> str:
    """Train on data of which one process alone meets what overflows; return what is said."""
    x = rows(60, 4).numpy()
    whole = SharedStep.part

    def part(self: SharedStep, update: Update) -> Update:
        own = whole(self, update)
        if processes.rank == 1 and self.num_steps == 3:
            next(iter(self.whole.parameters())).data.fill_(float("nan"))
        return own

    SharedStep.part = part  # type: ignore[method-assign]
    try:
        vaezoo.fit(Norms, from_arrays(x), training={"steps": 9, "batch_size": 16})
    except NonFiniteError as error:
        return str(error)
    finally:
        SharedStep.part = whole  # type: ignore[method-assign]
    return ""


def in_two_processes(rank: int, folder: str) -> None:
    """Run all that needs no processes of its own; a file is where they meet, no port."""
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    processes = joined()
    whole = {
        f"gradients of {num_rows}": gradients(processes, sequences(), Still(), num_rows)
        for num_rows in (8, 7, 3, 1)
    }
    found: dict[str, Any] = {
        **whole,
        "plain": fitted(Plain, engine="eager"),
        "captured": fitted(Plain, engine="graph"),
        "norms": fitted(Norms),
        "not finite": not_finite(processes),
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def trained(folder: str, *, dies_at: int = -1) -> None:
    """Train under torchrun; the second process dies before a step."""
    set_noise = SharedStep.set_noise

    def or_die(self: SharedStep, step: int) -> None:
        if step == dies_at and self.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        set_noise(self, step)

    SharedStep.set_noise = or_die  # type: ignore[method-assign]
    vaezoo.fit(
        "vae-bernoulli",
        "digits",
        config={"hidden": [8], "z_dim": 2},
        training={"steps": 30, "batch_size": 128},
        out=folder,
    )


if __name__ == "__main__":
    program, folder, *_ = sys.argv[1:]
    if program == "train":
        trained(folder)
    elif program == "die":
        trained(folder, dies_at=17)
    else:
        vaezoo.resume(folder)
