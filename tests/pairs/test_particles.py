"""Several draws of each datum, and batches that are filled up: both change nothing else."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from vaezoo import parts
from vaezoo.config import build_model
from vaezoo.errors import RequestError
from vaezoo.models.vae import VAEBernoulli, VAEGaussian
from vaezoo.models.vae_linear import VAELinear
from vaezoo.objectives import ELBO, IWAE, Context, DReG, Objective, ignores_padding
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, guide_of, model_of, sample_sites
from vaezoo.registry import entry_of, get_model
from vaezoo.sequences import SequencePair
from vaezoo.testing import made_up_batch

CPU = torch.device("cpu")
TEMPLATES = Path(__file__).parents[2] / "vaezoo" / "testing" / "templates"
SUMMED_OUT = ("gmvae", "mixture", "ssvae")
OTHER_NOISE = ("MoPoE", "VAEGumbel", "VAESphere")
SMALL: dict[str, Any] = {"hidden": (6,), "decoder_hidden": (6,), "z_dim": 3}


def small(name: str) -> tuple[nn.Module, Args]:
    """A pair of the zoo with small networks, and 7 rows, in float64."""
    cls = get_model(name)
    sequences = entry_of(cls).data == "sequences"
    x_shape = (3,) if sequences else (3, 4)
    torch.manual_seed(1)
    takes = inspect.signature(cls).parameters
    fits = {key: value for key, value in SMALL.items() if key in takes}
    if "hidden" in takes and isinstance(takes["hidden"].default, int):  # one layer
        fits["hidden"] = 6
    pair = build_model(cls, fits, x_shape).double()
    args = made_up_batch(pair.float(), x_shape)
    return pair.double(), tuple(a.double() if a.is_floating_point() else a for a in args)


@pytest.fixture
def zoo(structure: str) -> tuple[nn.Module, Args]:
    if structure in SUMMED_OUT:
        pytest.skip("its rows are repeated for the values of a latent that is summed out")
    return small(structure)


@pytest.fixture
def pair() -> nn.Module:
    torch.manual_seed(1)
    return VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,)).double()


@pytest.fixture
def x() -> Tensor:
    return torch.bernoulli(torch.full((7, 6), 0.4, dtype=torch.float64))


class Noise:
    """Standard normal noise that is a function of the datum, its draw and the site."""

    def __init__(self, particles: Particles) -> None:
        self.particles = particles
        self.num_calls = 0

    def __call__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        self.num_calls += 1
        generator = torch.Generator().manual_seed(self.num_calls)
        cells = (20, self.particles.number, *shape[1 + self.particles.in_plate :])
        noise = torch.randn(cells, generator=generator, dtype=torch.float64).to(dtype)
        if self.particles.in_plate:
            return noise[: shape[1]].transpose(0, 1)
        return noise[: shape[0] // self.particles.number].flatten(0, 1)


def loss_and_gradients(
    objective: Objective, pair: nn.Module, args: Args, mask: Tensor | None = None, beta: float = 0.7
) -> list[Tensor]:
    """Under the same noise for the same datum and draw, whatever the batch and the layout."""
    objective.prepare(pair, args)
    with pytest.MonkeyPatch.context() as patch:
        noise = Noise(objective._particles)  # type: ignore[attr-defined]
        for module in ("normal", "multivariate_normal"):
            patch.setattr(f"torch.distributions.{module}._standard_normal", noise)
        loss = objective.loss(pair, args, Context(beta, mask))
    gradients = torch.autograd.grad(
        loss, list(pair.parameters()), allow_unused=True, materialize_grads=True
    )
    return [loss, *gradients]


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": ELBO,
    "elbo-3": lambda: ELBO(num_particles=3),
    "free-bits": lambda: ELBO(free_bits=0.05),
    "free-bits-3": lambda: ELBO(num_particles=3, free_bits=0.05),
    "iwae": lambda: IWAE(num_particles=3),
    "dreg": lambda: DReG(num_particles=3),
}


# The layout of the draws


def test_every_draw_has_the_densities_that_it_has_alone(zoo: tuple[nn.Module, Args]) -> None:
    pair, args = zoo
    with probing(pair, CPU):
        particles = choose_particles(pair, args, 3)
        trace = particles.trace(model_of(pair), guide_of(pair), args)
        latents = {
            name: particles.by_datum(site["value"])
            for name, site in sample_sites(trace.guide).items()
        }
        for draw in range(3):
            held = hold({name: value[draw] for name, value in latents.items()})
            alone = Particles().trace(held(model_of(pair)), held(guide_of(pair)), args)
            for together, expected in ((trace.model, alone.model), (trace.guide, alone.guide)):
                for name, site in sample_sites(together).items():
                    density = particles.by_datum(log_density(site))[draw]
                    other = log_density(sample_sites(expected)[name])
                    torch.testing.assert_close(density, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["beta-vae", "vae-bernoulli", "vae-gaussian", "vae-linear"])
def test_pairs_of_plain_layers_run_their_encoder_once(name: str) -> None:
    pair, args = small(name)
    with probing(pair, CPU):
        assert choose_particles(pair, args, 3).in_plate


@pytest.mark.parametrize("name", ["beta-vae", "vae-bernoulli", "vae-gaussian"])
def test_convolutions_of_the_zoo_take_draws_in_a_plate(name: str) -> None:
    cls = get_model(name)
    pair = build_model(cls, entry_of(cls).presets["conv"], (8, 8))
    with probing(pair, CPU):
        assert choose_particles(pair, (torch.zeros(2, 8, 8),), 3).in_plate


class Convolutional(nn.Module):
    """A decoder whose layers want exactly one batch dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        self.decoder = nn.Sequential(
            nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)), nn.ConvTranspose2d(1, 1, 2, 2)
        )

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(3), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class WrongDimension(VAELinear):
    """Normalises dimension 1: the latents of a batch, but the data where there are draws."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            loc = self.decoder(z.softmax(1))
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("pair", "x_shape"),
    [(Convolutional(), (1, 4, 4)), (WrongDimension(x_shape=(5,), z_dim=3), (5,))],
)
@pytest.mark.parametrize("rows", [2, 3])
def test_other_pairs_get_repeated_rows(
    pair: nn.Module, x_shape: tuple[int, ...], rows: int
) -> None:
    """Also where there are as many draws as rows."""
    args = (torch.bernoulli(torch.full((rows, *x_shape), 0.5)),)
    with probing(pair, CPU):
        assert choose_particles(pair, args, 3) == Particles(3)
    loss = ELBO(num_particles=3).loss(pair, args)
    assert bool(torch.isfinite(loss))


def test_recurrent_pairs_get_repeated_rows() -> None:
    pair = build_model(get_model(str(TEMPLATES / "sequence_pair.py")), {}, (3,))
    args = made_up_batch(pair, (3,))
    with probing(pair, CPU):
        assert choose_particles(pair, args, 3) == Particles(3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_layout_changes_neither_loss_nor_gradients(
    pair: nn.Module, x: Tensor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = loss_and_gradients(OBJECTIVES[name](), pair, (x,))
    for module in ("elbo", "bounds.importance"):
        monkeypatch.setattr(
            f"vaezoo.objectives.{module}.choose_particles", lambda p, a, n: Particles(n)
        )
    repeated = loss_and_gradients(OBJECTIVES[name](), pair, (x,))
    torch.testing.assert_close(together, repeated, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_looking_at_a_pair_leaves_no_trace(name: str) -> None:
    pair = VAEGaussian(x_shape=(6,), likelihood=_analytic)  # its likelihood counts batches
    pair.encoder.net.body.append(nn.BatchNorm1d(200))
    pair.decoder.eval()
    x = torch.randn(5, 6)
    modes = [module.training for module in pair.modules()]
    buffers = {name: buffer.clone() for name, buffer in pair.named_buffers()}
    generator = torch.get_rng_state()
    objective = OBJECTIVES[name]()
    objective.prepare(pair, (x,))
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in pair.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in pair.named_buffers())


def _analytic(net: parts.DecoderNet) -> nn.Module:
    return parts.Gaussian(net, sigma="analytic")


# Pyro's own estimators


class scale_latents(Messenger):  # noqa: N801
    """Scale the log-density of every latent: on both sides, it weighs the KL term."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def _pyro_sample(self, msg: Any) -> None:
        if not (msg["is_observed"] or site_is_subsample(msg)):
            msg["scale"] = msg["scale"] * self.beta


def weighted_by_pyro(elbo: Trace_ELBO, pair: nn.Module, x: Tensor, beta: float) -> list[Tensor]:
    model = scale_latents(beta)(model_of(pair))
    guide = scale_latents(beta)(guide_of(pair))
    loss = elbo.differentiable_loss(model, guide, x) / len(x)
    return [loss, *torch.autograd.grad(loss, list(pair.parameters()))]


def weighted_by_us(objective: ELBO, pair: nn.Module, x: Tensor, beta: float) -> list[Tensor]:
    """What data share counts 1 / N in each of the N data of a data set of one batch."""
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    loss = objective.loss(pair, (x,), Context(beta, num_data=len(x)))
    return [loss, *torch.autograd.grad(loss, list(pair.parameters()))]


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("number", [1, 5])
def test_bound_is_bitwise_that_of_pyro(
    pair: nn.Module, x: Tensor, number: int, beta: float
) -> None:
    pair, x = pair.float(), x.float()
    ours = weighted_by_us(ELBO(num_particles=number), pair, x, beta)
    elbo = TraceMeanField_ELBO(number, vectorize_particles=number > 1, max_plate_nesting=1)
    torch.manual_seed(3)
    expected = weighted_by_pyro(elbo, pair, x, beta)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


class SharedScale(nn.Module):
    """A latent that all data share, outside of the plate."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([0.3, 0.2]))

    def model(self, x: Tensor) -> None:
        s = pyro.sample("s", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, s.exp()), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("s", dist.Normal(self.loc[0], 0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc[1], 0.1))


def test_latent_that_data_share_is_drawn_anew_for_every_particle() -> None:
    pair, x = SharedScale().double(), torch.randn(6, dtype=torch.float64)
    ours = weighted_by_us(ELBO(num_particles=3), pair, x, 1.0)
    torch.manual_seed(3)
    expected = weighted_by_pyro(TraceMeanField_ELBO(3), pair, x, 1.0)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


# Masks of rows


def filled_up(args: Args, rows: int) -> tuple[Args, Tensor]:
    """A batch with other rows at its end, and the mask that leaves them out."""
    other = tuple(arg.flip(0).roll(1, 0)[:rows] for arg in args)
    filled = tuple(torch.cat([arg, more]) for arg, more in zip(args, other, strict=True))
    return filled, torch.arange(len(filled[0])) < len(args[0])


def has_latents(pair: nn.Module) -> bool:
    return bool(getattr(pair, "has_latents", True))


def num_draws(pair: nn.Module, args: Args) -> int:
    """Return how many reparameterised latents a guide draws, 0 if any is not."""
    sites = sample_sites(poutine.trace(guide_of(pair)).get_trace(*args)).values()
    return len(sites) if all(site["fn"].has_rsample for site in sites) else 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_filled_up_batch_is_the_short_batch(zoo: tuple[nn.Module, Args], name: str) -> None:
    pair, args = zoo
    if name == "dreg" and (isinstance(pair, SequencePair) or not has_latents(pair)):
        says = "'z_1' is a second one" if has_latents(pair) else "guide has none"
        with pytest.raises(RequestError, match=f"{says}; use `objective='iwae'`"):
            DReG().prepare(pair, args)
        return
    if name == "dreg" and num_draws(pair, args) != 1:
        with pytest.raises(RequestError, match=r"; use `objective='iwae'`$"):
            DReG().prepare(pair, args)
        return
    if type(pair).__name__ in OTHER_NOISE:
        pytest.skip("its draws are made of other noise than the one of the test")
    short = loss_and_gradients(OBJECTIVES[name](), pair, args)
    filled, mask = filled_up(args, 4)
    long = loss_and_gradients(OBJECTIVES[name](), pair, filled, mask)
    torch.testing.assert_close(long, short, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_content_of_the_padding_does_not_matter(pair: nn.Module, x: Tensor, name: str) -> None:
    mask = torch.arange(7) < 4
    other = torch.where(mask[:, None], x, 1 - x)
    first = loss_and_gradients(OBJECTIVES[name](), pair, (x,), mask)
    second = loss_and_gradients(OBJECTIVES[name](), pair, (other,), mask)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_mask_of_all_rows_changes_no_bit(pair: nn.Module, x: Tensor, name: str) -> None:
    plain = loss_and_gradients(OBJECTIVES[name](), pair, (x,))
    masked = loss_and_gradients(OBJECTIVES[name](), pair, (x,), torch.ones(7, dtype=torch.bool))
    torch.testing.assert_close(masked, plain, rtol=0, atol=0)


def test_mask_with_as_many_draws_as_rows(pair: nn.Module, x: Tensor) -> None:
    short = loss_and_gradients(IWAE(num_particles=7), pair, (x[:4],))
    mask = torch.arange(7) < 4
    long = loss_and_gradients(IWAE(num_particles=7), pair, (x,), mask)
    torch.testing.assert_close(long, short, rtol=1e-9, atol=1e-12)


def test_site_outside_the_plate_has_no_mask() -> None:
    mask = torch.arange(6) < 4
    terms = elbo_terms(SharedScale(), (torch.randn(6),), rows=mask)
    assert bool(terms.kl_global["s"] > 0)
    assert torch.equal(terms.kl["z"] > 0, mask)
    assert torch.equal(terms.recon < 0, mask)


@pytest.mark.parametrize("name", ["elbo", "elbo-3", "free-bits", "iwae"])
def test_rows_of_the_zoo_do_not_meet(zoo: tuple[nn.Module, Args], name: str) -> None:
    pair, args = zoo
    objective = OBJECTIVES[name]()
    objective.prepare(pair, args)
    assert ignores_padding(objective, pair, args)


def normalised() -> nn.Module:
    pair = VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,))
    pair.encoder.net.body.append(nn.BatchNorm1d(4))
    return pair


@pytest.mark.parametrize(
    "pair",
    [
        normalised(),
        VAEGaussian(x_shape=(6,), likelihood=_analytic),
        VAEGaussian(x_shape=(6,), likelihood=_analytic).double(),
    ],
)
def test_rows_that_meet_are_noticed(pair: nn.Module) -> None:
    x = torch.bernoulli(torch.full((7, 6), 0.5)).to(next(pair.parameters()).dtype)
    buffers = {name: buffer.clone() for name, buffer in pair.named_buffers()}
    assert not ignores_padding(ELBO(), pair, (x,))
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in pair.named_buffers())
    assert pair.training
    assert ignores_padding(ELBO(), pair.eval(), (x,))


def test_rows_of_sites_without_a_plate_are_masked() -> None:
    class Plateless(VAELinear):
        def model(self, x: Tensor) -> None:
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    pair = Plateless(x_shape=(5,), z_dim=3)
    assert ignores_padding(ELBO(), pair, (torch.randn(6, 5),))
