"""Measures of the guide: what it loses, what it costs, and what its two channels carry."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["amortisation", "channels"]


def amortisation(num_samples: int = 200) -> "Measure":
    """Return a measure of the amortisation gap per datum, and of the cost of a fit.

    The best diagonal Gaussian of each datum is found by :func:`vaezoo.inference.local_fits`
    (Cremer et al. 2018, arXiv:1801.03558, sec. 3); costs are CPU seconds.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import torch

        from vaezoo.inference.local_fits import local_elbo

        pair: Any = trained.run.pair.eval()
        (x,) = trained.run.batches().whole("test", limit=trained.scale.limit)
        with torch.no_grad():
            pair.guide(x)  # the first call of a process costs more
            began = time.process_time()
            for _ in range(20):
                pair.guide(x)
        encoder = (time.process_time() - began) / 20
        own = local_elbo(pair, (x,), num_steps=0, num_samples=num_samples)
        began = time.process_time()
        best = local_elbo(pair, (x,), num_samples=num_samples)
        spent = time.process_time() - began
        return {
            "ELBO": own.double().cpu().numpy(),
            "ELBO of fits": best.double().cpu().numpy(),
            "amortisation gap": (best - own).double().cpu().numpy(),
            "cost of a fit over that of the encoder": spent / max(encoder, 1e-9),
        }

    return measure


def channels(num_samples: int = 50) -> "Measure":
    """Return what the ELBO loses per datum when a channel of q(z given x) says nothing of x.

    ``without mu`` each datum has its own scales about the mean of all means; ``without sigma`` its
    own mean and, for each latent, the root mean square of all scales. The draws are the same for
    all three. Nothing is said of a guide that is no diagonal normal.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        import torch
        from torch.distributions import Normal

        from vaezoo.inference.target import Target
        from vaezoo.pairs.particles import probing
        from vaezoo.pairs.sites import run_guide, sample_sites

        pair = trained.run.pair.eval()
        args = trained.run.batches().whole("test", limit=trained.scale.limit)
        with torch.no_grad(), probing(pair, args[0].device):
            (site,) = sample_sites(run_guide(pair, args)).values()
            q: Any = site["fn"]
            if not isinstance(getattr(q, "base_dist", None), Normal):
                return {}
            target = Target(pair, args, "a measure of the guide")
            loc, scale = q.mean, q.stddev
            noise = torch.randn(
                (num_samples, *loc.shape), generator=torch.Generator().manual_seed(0)
            )

            def elbo(loc: "Tensor", scale: "Tensor") -> "Tensor":
                z = loc + scale * noise
                return (target.log_joint(z) - Normal(loc, scale).log_prob(z).sum(-1)).mean(0)

            whole = elbo(loc, scale)
            no_mu = elbo(loc.mean(0).expand_as(loc), scale)
            no_sigma = elbo(loc, scale.square().mean(0).sqrt().expand_as(scale))
        return {
            "lost without mu": (whole - no_mu).double().numpy(),
            "lost without sigma": (whole - no_sigma).double().numpy(),
        }

    return measure
