"""Who takes part: Pyro's SVI, steps written by hand, and the tiers of the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyro
import torch
from _hand_written import (
    HandWritten,
    Networks,
    Step,
    joint,
    recorded,
    whole,
    with_kernel,
    with_optimizer,
)
from _nets import Architecture, Feed, make_pair
from pyro import distributions as dist
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import Tensor, nn

from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RunError
from vaezoo.objectives import Objective
from vaezoo.options import EngineName, Precision

__all__ = [
    "COMPILED",
    "HAND",
    "PYRO",
    "RECORDED",
    "SAME",
    "Candidate",
    "on_cpu",
    "on_cuda",
    "vaezoo_step",
]

PYRO = "Pyro SVI"
HAND = "by hand, `torch.compile(loss)`, `torch.optim.Adam(fused=True)`"
SAME = "by hand, the loss alone; vaezoo's engine, compiled"
COMPILED = "**vaezoo, compiled**"
RECORDED = "by hand, one CUDA graph"

Make = Callable[[Architecture, Networks, Feed], Step]


@dataclass(frozen=True)
class Candidate:
    """A way to take a step.

    Attributes
    ----------
    name
        What the tables call it.
    make
        From an architecture, networks of its own and a feed of its own to a step.
    compiles
        Whether a compiler runs at the first call.
    """

    name: str
    make: Make
    compiles: bool = False


def on_cpu(architecture: Architecture) -> list[Candidate]:
    """Return all that take part on the CPU."""
    engines = [
        Candidate("vaezoo, eager", partial(vaezoo_step, engine="eager")),
        Candidate("vaezoo, graph", partial(vaezoo_step, engine="graph")),
        Candidate(COMPILED, partial(vaezoo_step, engine="compiled"), True),
        Candidate(
            "vaezoo, compiled, no clipping",
            partial(vaezoo_step, engine="compiled", clip_norm=0.0),
            True,
        ),
    ]
    return [
        *(Candidate(name, partial(_svi, elbo=elbo)) for name, elbo in _estimators(architecture)),
        Candidate("by hand, eager, fused Adam", _by_hand(with_kernel)),
        Candidate(HAND, _by_hand(with_optimizer, compiled=True), True),
        Candidate("the same, the kernel of Adam alone", _by_hand(with_kernel, compiled=True), True),
        Candidate("by hand, loss and gradients in one graph", lambda _, *own: joint(*own), True),
        Candidate("by hand, the whole step in one graph", lambda _, *own: whole(*own), True),
        Candidate(SAME, _same_engine, True),
        *engines,
    ]


def on_cuda(architecture: Architecture) -> list[Candidate]:
    """Return all that take part on a GPU."""
    (name, elbo), *_ = _estimators(architecture)
    return [
        Candidate(name, partial(_svi, elbo=elbo)),
        Candidate("vaezoo, eager", partial(vaezoo_step, engine="eager")),
        Candidate(RECORDED, _by_hand(recorded)),
        Candidate(f"{RECORDED}, `torch.compile(loss)`", _by_hand(recorded, compiled=True), True),
        Candidate("vaezoo, graph", partial(vaezoo_step, engine="graph")),
        Candidate(COMPILED, partial(vaezoo_step, engine="compiled"), True),
    ]


def _estimators(architecture: Architecture) -> list[tuple[str, object]]:
    if architecture.num_draws == 1:
        return [
            (f"{PYRO}, `Trace_ELBO`", Trace_ELBO()),
            (f"{PYRO}, `TraceMeanField_ELBO`", TraceMeanField_ELBO()),
        ]
    bound = RenyiELBO(
        alpha=0.0,
        num_particles=architecture.num_draws,
        vectorize_particles=True,
        max_plate_nesting=1,
    )
    return [(f"{PYRO}, `RenyiELBO(alpha=0)`", bound)]


def _svi(architecture: Architecture, networks: Networks, feed: Feed, *, elbo: object) -> Step:
    """Pyro as its tutorials use it: validation on, one Adam for each parameter."""
    name = type(elbo).__name__

    def model(x: Tensor) -> None:
        pyro.module(f"{name}.decoder", networks.decoder)
        with pyro.plate("data", len(x)):
            standard = dist.Normal(x.new_zeros(architecture.z_dim), 1.0)
            z = pyro.sample("z", standard.to_event(1))
            logits = networks.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(x.dim() - 1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module(f"{name}.encoder", networks.encoder)
        with pyro.plate("data", len(x)):
            loc, log_var = networks.encoder(x)
            pyro.sample("z", dist.Normal(loc, torch.exp(0.5 * log_var)).to_event(1))

    svi = SVI(model, guide, Adam({"lr": 1e-3}), elbo)
    return lambda: svi.step(feed())


def _by_hand(
    way: Callable[[Networks, Callable[[Tensor], Tensor], Feed], Step], *, compiled: bool = False
) -> Make:
    def make(_: Architecture, networks: Networks, feed: Feed) -> Step:
        loss = torch.compile(networks, fullgraph=True, dynamic=False) if compiled else networks
        return way(networks, loss, feed)

    return make


def _same_engine(_: Architecture, networks: Networks, feed: Feed) -> Step:
    return _engine_step(networks, HandWritten(), feed, engine="compiled")


def vaezoo_step(
    architecture: Architecture,
    networks: Networks,
    feed: Feed,
    *,
    engine: EngineName,
    clip_norm: float = 200.0,
    precision: Precision = "float32",
) -> Step:
    """A step of the pair of the zoo that has an architecture, with the weights of networks."""
    return _engine_step(
        *(make_pair(architecture, networks), architecture.objective(), feed),
        engine=engine,
        clip_norm=clip_norm,
        precision=precision,
    )


def _engine_step(
    pair: nn.Module,
    objective: Objective,
    feed: Feed,
    *,
    engine: EngineName,
    clip_norm: float = 200.0,
    precision: Precision = "float32",
) -> Step:
    """A step of the engine as the trainer takes it; never on a lower tier."""
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    take = Engine(
        *(pair, objective, optimizer),
        clip_norm=clip_norm,
        engine=engine,
        precision=precision,
        notify=_refuse,
    )
    return lambda: take((feed(),))


def _refuse(kind: str, line: str) -> None:
    raise RunError(f"not measured: {line}")
