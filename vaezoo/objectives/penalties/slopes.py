"""Networks held to small slopes: contractive encoders, and regularised autoencoders."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.aggregate.codes import Coding
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.anatomy import names_of_model
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, run_guide, sample_sites

__all__ = ["RAE", "Contractive", "squared_slope"]


@OBJECTIVES.register("contractive")
class Contractive:
    """ELBO less squared slopes dz/dx, in nats per datum: codes that small changes leave alone.

    The squared Frobenius norm of the Jacobian of the means of the guide (Rifai et al. 2011,
    *Contractive Auto-Encoders*, eq. 1), from one random direction for each datum, without bias.

    Parameters
    ----------
    weight
        Of the squared norm, lambda.

    Examples
    --------
    >>> Contractive(weight=0.1).weight
    0.1
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, weight: NonNegativeFloat = 0.1) -> None:
        self.weight = weight
        self._coding = Coding("contractive", one_latent=True, mean=True)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum, or has no mean that follows x.
        """
        self._coding.look(pair, args)
        with probing(pair, args[0].device), torch.enable_grad():
            x = args[0].detach().requires_grad_()
            sites = sample_sites(run_guide(pair, (x, *args[1:])))
            follows = any(site["fn"].mean.requires_grad for site in sites.values())
        if not follows:
            raise RequestError(
                "objective 'contractive' asks how codes change with x, and those of this guide do "
                "not; use `objective='elbo'`"
            )

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        if not self._coding.is_ready:
            self.prepare(pair, args)
        return _with_slopes(lambda: self._loss(pair, args, context))

    def _loss(self, pair: nn.Module, args: Args, context: Context) -> Tensor:
        x = args[0].detach().requires_grad_()
        batch = self._coding.batch(pair, (x, *args[1:]), context)
        codes = batch.codes
        penalty = codes.share @ squared_slope(codes.posterior.mean, x)
        return batch.distortion + context.beta * batch.kl + self.weight * penalty


@OBJECTIVES.register("rae")
class RAE:
    """log p(x | z) - code/2 |z|^2 - weight R, in nats per datum: a regularised autoencoder.

    Noise in the code makes a decoder smooth; here it is made so without noise, by R
    (Ghosh et al. 2020, arXiv:1903.12436, eq. 11 ... 13).

    Parameters
    ----------
    form
        What R is. ``l2``: the sum of the squared weights of the model. ``gradient``: the squared
        Frobenius norm of the Jacobian of the mean of x by z, from one random direction for each
        datum, without bias. ``none``.
    weight
        Of R.
    code
        Of half the squared codes, the beta of the paper.

    Examples
    --------
    >>> RAE(form="gradient").weight
    1e-06
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(
        self,
        *,
        form: Literal["l2", "gradient", "none"] = "l2",
        weight: NonNegativeFloat = 1e-6,
        code: NonNegativeFloat = 1e-4,
    ) -> None:
        self.form, self.weight, self.code = form, weight, code
        self._coding = Coding("rae", one_latent=True)
        self._of_model: frozenset[str] = frozenset()

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair, and at the parameters of its model.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum.
        """
        self._coding.look(pair, args)
        self._of_model = names_of_model(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        if not self._coding.is_ready:
            self.prepare(pair, args)
        return _with_slopes(lambda: self._loss(pair, args, context))

    def _loss(self, pair: nn.Module, args: Args, context: Context) -> Tensor:
        batch = self._coding.batch(pair, args, context)
        share, z = batch.codes.share, batch.codes.z
        loss = batch.distortion + self.code * (share @ z.square().sum(-1)) / 2
        if self.form == "l2":
            weights = [p for n, p in pair.named_parameters() if n in self._of_model]
            return loss + self.weight * torch.stack([w.square().sum() for w in weights]).sum()
        if self.form == "gradient":
            means = [site["fn"].mean for site in batch.trace.observed.values()]
            return loss + self.weight * (share @ squared_slope(means[0], z))
        return loss


def _with_slopes(loss: Callable[[], Tensor]) -> Tensor:
    """Return a loss with slopes in it, also where nobody asks for its gradient."""
    with torch.enable_grad():
        value = loss()
    return value if torch.is_grad_enabled() else value.detach()


def squared_slope(values: Tensor, of: Tensor) -> Tensor:
    """Return an unbiased estimate of the squared Jacobian d values / d of of each row, ``(B,)``.

    It is |v^T J|^2 for v of independent signs, the mean of which is the squared Frobenius norm of
    the Jacobian J (Hutchinson 1990).

    Parameters
    ----------
    values, of
        ``(B, ...)``, rows of the one depending on those of the other.

    Examples
    --------
    >>> x = torch.ones(3, 1, requires_grad=True)
    >>> squared_slope(2 * x, x).detach()
    tensor([4., 4., 4.])
    """
    signs = torch.where(torch.rand_like(values) < 0.5, -1.0, 1.0)
    gradients: tuple[Any, ...] = torch.autograd.grad((values * signs).sum(), of, create_graph=True)
    return torch.as_tensor(gradients[0]).flatten(1).square().sum(1)
