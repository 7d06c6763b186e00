"""The next frames of any pair: against normals conditioned in closed form."""

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.completion import draw_missing
from vaezoo.observations.roles import roles_of
from vaezoo.sequences.conditioning import continue_by_conditioning

NUM_DRAWS = 4000
# A mean of normal draws leaves this many standard errors once in 10^6, one of a variance about as
# often: over the dozen numbers of this file, a failure in 10^5 runs.
ERRORS = 5.0


def gram(num_frames: int) -> Tensor:
    t = torch.arange(num_frames, dtype=torch.float32)
    return (-0.5 * ((t[:, None] - t) / 2.0) ** 2).exp() + 0.05 * torch.eye(num_frames)


class GaussianProcess(nn.Module):
    """z of all frames at once, x what it is: the guide knows it."""

    def model(self, x: Tensor, length: Tensor) -> None:
        num_frames = x.shape[1]
        with pyro.plate("data", len(x)):
            prior = dist.MultivariateNormal(torch.zeros(1, num_frames), gram(num_frames))
            z = pyro.sample("z", prior.to_event(1))
            pyro.sample("x", dist.Normal(z.mT, 1e-4).to_event(2), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mT, 1e-4).to_event(2))


DECAY, DRIFT, NOISE = 0.8, 0.5, 0.7


def covariances(num_frames: int) -> tuple[Tensor, Tensor]:
    """Of the states z of the walk below, and of its frames x."""
    noise = torch.tril(
        DECAY ** (torch.arange(num_frames)[:, None] - torch.arange(num_frames)).float()
    )
    of_z = DRIFT**2 * noise @ noise.T
    return of_z, of_z + NOISE**2 * torch.eye(num_frames)


class Walk(nn.Module):
    """z_t | z_{t-1}, x_t | z_t, linear and normal, with the exact guide."""

    def model(self, x: Tensor, length: Tensor) -> None:
        z = x.new_zeros(len(x), 1)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z = pyro.sample(f"z_{t}", dist.Normal(DECAY * z, DRIFT).to_event(1))
                    pyro.sample(f"x_{t}", dist.Normal(z, NOISE).to_event(1), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        of_z, of_x = covariances(x.shape[1])
        weights = of_z @ of_x.inverse()
        mean, factor = x[..., 0] @ weights.T, torch.linalg.cholesky(of_z - weights @ of_z)
        noise: list[Tensor] = []
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                loc = mean[:, t] + sum((factor[t, k] * e for k, e in enumerate(noise)), 0.0)
                fn = dist.Normal(loc[:, None], factor[t, t]).to_event(1)
                noise.append((pyro.sample(f"z_{t}", fn)[:, 0] - loc) / factor[t, t])


class Counter(nn.Module):
    """x_t is one more than the frame before it in the argument, not in what was drawn."""

    def model(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                before = x[:, t - 1] if t else torch.zeros_like(x[:, 0])
                pyro.sample(f"x_{t}", dist.Normal(before + 1, 1e-4).to_event(1), obs=x[:, t])

    def guide(self, x: Tensor, length: Tensor) -> None:
        pass


class PathCounter(Counter):
    """The same with one site for all frames."""

    def model(self, x: Tensor, length: Tensor) -> None:
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(before + 1, 1e-4).to_event(2), obs=x)


class StudentProcess(nn.Module):
    """A path that nothing can be conditioned on."""

    def model(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, factor = torch.zeros(len(x), x.shape[1]), torch.eye(x.shape[1])
            z = pyro.sample("z", dist.MultivariateStudentT(torch.tensor(5.0), loc, factor))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(2), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[..., 0], 1.0).to_event(1))


def continued(pair: nn.Module, x: Tensor, prefix: int, steps: int, num_draws: int) -> Tensor:
    """Draws of x, ``(S, steps)``, of the first row."""
    torch.manual_seed(0)
    args = (x, torch.full((len(x),), x.shape[1]))
    result = continue_by_conditioning(pair, args, roles_of(pair, args), prefix, steps, num_draws)
    return result.draws["x"][0, ..., 0]


def normal_given(joint: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variances of the rest of a normal of mean 0, by its precision."""
    start = len(first)
    precision = joint.inverse()
    covariance = precision[start:, start:].inverse()
    return -covariance @ precision[start:, :start] @ first, covariance.diagonal()


@pytest.mark.parametrize(
    ("pair", "joint"),
    [(GaussianProcess(), gram(7)), (Walk(), covariances(7)[1])],
    ids=["one site for the path", "a site for each step"],
)
def test_linear_models_go_on_as_their_conditional_does(pair: nn.Module, joint: Tensor) -> None:
    x = torch.randn(2, 6, 1, generator=torch.Generator().manual_seed(1))
    draws = continued(pair, x, 4, 3, NUM_DRAWS)
    mean, variance = normal_given(joint, x[0, :4, 0])
    error = (variance / NUM_DRAWS).sqrt()
    assert ((draws.mean(0) - mean).abs() < ERRORS * error).all()
    assert ((draws.var(0) / variance - 1).abs() < ERRORS * (2 / NUM_DRAWS) ** 0.5).all()


@pytest.mark.parametrize("pair", [Counter(), PathCounter()], ids=["steps", "path"])
def test_what_was_drawn_is_heard_also_where_the_model_reads_its_argument(pair: nn.Module) -> None:
    x = torch.arange(1.0, 5.0).reshape(1, 4, 1) + torch.zeros(2, 1, 1)
    draws = continued(pair, x, 3, 4, 2)
    assert torch.allclose(draws, torch.tensor([4.0, 5.0, 6.0, 7.0]), atol=0.01)


def test_a_missing_frame_is_drawn_given_both_sides() -> None:
    x = torch.randn(1, 5, 1, generator=torch.Generator().manual_seed(2)).expand(400, -1, -1)
    missing = torch.zeros(400, 5, 1, dtype=torch.bool)
    missing[:, 2] = True
    torch.manual_seed(0)
    args = (x.clone(), torch.full((400,), 5))
    draws, _ = draw_missing(Walk(), args, {"x": missing}, num_samples=60, burn_in=40)
    draws = draws["x"]
    order = [0, 1, 3, 4, 2]
    joint = covariances(5)[1][order][:, order]
    mean, variance = normal_given(joint, x[0, order[:4], 0])
    chains = draws[:, :, 2, 0]
    means, squares = chains.mean(0), (chains - mean).square().mean(0)
    for of_chain, truth in ((means, mean), (squares, variance)):
        assert abs(of_chain.mean() - truth) < ERRORS * of_chain.std() / 400**0.5


def test_frames_behind_the_prefix_do_not_matter() -> None:
    x = torch.randn(2, 6, 1)
    other = torch.cat([x[:, :4], torch.randn(2, 2, 1)], 1)
    assert torch.equal(continued(Walk(), x, 4, 3, 5), continued(Walk(), other, 4, 3, 5))


def test_a_path_that_cannot_be_conditioned_is_refused() -> None:
    with pytest.raises(RequestError, match="site 'z' is one MultivariateStudentT over time"):
        continued(StudentProcess(), torch.randn(2, 6, 1), 4, 2, 3)


def test_a_latent_without_its_guide_is_refused() -> None:
    pair = Walk()
    pair.guide = lambda x, length: None  # type: ignore[method-assign]
    with pytest.raises(RequestError, match="the guide draws no site 'z_0'"):
        continued(pair, torch.randn(2, 6, 1), 4, 2, 3)
