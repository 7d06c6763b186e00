"""Pairs and objectives that the zoo has not: each does on purpose what a question asks about."""

from typing import Any, ClassVar, cast

import pyro
from pyro import poutine
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from torch import Tensor, nn
from torch.distributions import kl_divergence

from vaezoo.models.vae import VAEGaussian
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args, guide_of, model_of

__all__ = ["AtMean", "DecodesMean", "ScoreFunction"]


class DecodesMean(VAEGaussian):
    """The VAE, with the objective ``at-mean`` to train it by."""


@OBJECTIVES.register("at-mean")
class AtMean:
    """KL(q || p) - log p(x | E z), in nats per datum: the mean of q is decoded, not a draw.

    It is no bound of log p(x).
    """

    judged_by_elbo: ClassVar[bool] = False

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Nothing is to be prepared."""

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised, of the rows that count."""
        guide = poutine.trace(guide_of(pair)).get_trace(*args)
        q: Any = guide.nodes["z"]["fn"]
        guide.nodes["z"]["value"] = q.mean
        model = poutine.trace(poutine.replay(model_of(pair), trace=guide)).get_trace(*args)
        p, p_x = (cast("Any", model.nodes[name]["fn"]) for name in ("z", "x"))
        each: Tensor = context.beta * kl_divergence(q, p) - p_x.log_prob(args[0])
        if context.mask is None:
            return each.mean()
        return (each * context.mask).sum() / context.mask.sum()


class ScoreFunction(VAEGaussian):
    """The VAE, whose draws of z have no path, so that its gradient is that of the score of q."""

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``, without a reparameterisation."""
        with pyro.plate("data", len(x)):
            q = self.encoder(x).base_dist
            pyro.sample("z", NonreparameterizedNormal(q.loc, q.scale).to_event(1))
