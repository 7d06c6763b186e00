"""The variational autoencoder of tables: columns of several kinds, entries that are missing."""

import math

import pyro
from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.parts.likelihoods.columns import ColumnFeatures, ColumnHeads, ColumnKinds

__all__ = ["VAETabular"]


@register("vae-tabular", data="vectors", reference="arXiv:1807.03653", tags=("missing", "tables"))
class VAETabular(nn.Module):
    """Variational autoencoder of a table with columns of several kinds and missing entries.

        p(x, z)  = N(z; 0, I) prod_d p_d(x_d; gamma_d(z)),   z -> 64 -> heads
        q(z | x) = N(z; mu(x_obs, m), diag sigma(x_obs, m)^2)

    ========  =============  =========================================================
    site      event shape    meaning
    ========  =============  =========================================================
    z         ``(z_dim,)``   latent
    real      ``(n,)``       observed numbers: N(x; mu(z), sigma(z)^2), standardised
    binary    ``(n,)``       observed 0 and 1: Bernoulli
    count     ``(n,)``       observed counts: negative binomial, its mean exp(h) times that of
                             the data
    category  ``(n,)``       observed levels 0 ... K - 1: categorical
    NAME      ``(k,)``       observed text of a column NAME, one-hot: categorical
    ========  =============  =========================================================

    There is a site for each kind of column that there is. The kinds are read off the data, the
    setting ``columns``: 0 and 1 are binary, text is one of its values, whole numbers up to 20 are
    categories, other whole numbers from 0 counts, all else real. What is nan is left out of the
    likelihood; the guide sees 0 in its place, and which entries are there. ``vaezoo impute`` fills
    the table.

    Reference
        Nazabal, Olmos, Ghahramani & Valera 2020, *Handling Incomplete Heterogeneous Data using
        VAEs*, arXiv:1807.03653, section 3 (the likelihoods of HI-VAE, and eq. 3).

    Differs from the paper
        A normal prior instead of a mixture with its own encoder; the negative binomial for counts
        instead of the Poisson; positive numbers are real, and whole numbers up to 20 are
        categories, not ordinal.
    """

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: tuple[PositiveInt, ...] = (64,),
        activation: parts.Activation = "relu",
        columns: ColumnKinds = None,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        x_dim = math.prod(x_shape)
        kinds = columns or ("real",) * x_dim
        decoder = parts.Decoder(z_dim, hidden[::-1], (x_dim,), activation=activation)
        self.decoder = ColumnHeads(decoder, kinds)  # p(x | z)
        self.features = ColumnFeatures(kinds)
        encoder = parts.Encoder((self.features.num_features,), hidden, activation=activation)
        self.encoder = posterior(encoder, z_dim)  # q(z | x, mask)
        self.prior = prior(z_dim)  # p(z)

    def model(self, x: Tensor, mask: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``, ``mask`` the same, true for what is there."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            for kind, (places, fn) in self.decoder(z).items():
                row = fn if fn.event_shape else fn.to_event(1)
                pyro.sample(kind, row, obs=x.flatten(1)[:, places])

    def guide(self, x: Tensor, mask: Tensor) -> None:
        """q(z | x, mask) of ``x (B, *x_shape)``, 0 where an entry is missing."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(self.features(x.flatten(1), mask.flatten(1))))
