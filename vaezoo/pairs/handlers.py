"""Effect handlers that change what the sites of a pair draw or weigh, named like those of pyro."""

from collections.abc import Mapping
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions.families import PointKind, family, point_of
from vaezoo.errors import RequestError

__all__ = ["hold", "require_draws", "require_pyro", "take_point"]


class hold(Messenger):  # noqa: N801
    """Give latents values, by the name of their site, instead of drawing them.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with hold({"z": torch.tensor(3.0)}):
    ...     pyro.sample("z", dist.Normal(0.0, 1.0))
    tensor(3.)
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"] = self.values[msg["name"]]
            msg["done"] = True


class require_draws(Messenger):  # noqa: N801
    """Refuse a site that must be drawn, and whose distribution can only be evaluated.

    Examples
    --------
    >>> import pyro, torch
    >>> from pyro import distributions as dist
    >>> flat = dist.ImproperUniform(dist.constraints.real, (), (2,))
    >>> with require_draws():
    ...     pyro.sample("z", flat)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    vaezoo.errors.RequestError: the ImproperUniform of site 'z' cannot be drawn from: ...
    """

    def _pyro_sample(self, msg: Any) -> None:
        if msg["done"] or msg["is_observed"] or msg["value"] is not None:
            return
        try:
            msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])
        except NotImplementedError as error:
            raise RequestError(
                f"the {family(msg['fn'])} of site '{msg['name']}' cannot be drawn from: there are "
                "no new data without a prior that can be; `vaezoo.sample(run, latents='gmm')` "
                "fits a density to codes, `vaezoo.reconstruct(run)` and `vaezoo.encode(run)` need "
                "none"
            ) from error
        msg["done"] = True


class require_pyro(Messenger):  # noqa: N801
    """Say what to import where a site has a distribution of torch, which Pyro cannot draw from.

    Examples
    --------
    >>> import pyro, torch
    >>> with require_pyro():
    ...     pyro.sample("z", torch.distributions.Normal(0.0, 1.0))
    Traceback (most recent call last):
        ...
    TypeError: site 'z': Normal is of torch.distributions; take it from pyro.distributions
    """

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if isinstance(fn, Distribution) and not callable(fn):
            raise TypeError(
                f"site '{msg['name']}': {type(fn).__name__} is of torch.distributions; "
                "take it from pyro.distributions"
            )


class take_point(Messenger):  # noqa: N801
    """Give every unobserved site one value: the mean of its distribution, or what stands for it.

    Attributes
    ----------
    kinds
        What was taken, by the name of the site: ``mean``, ``mode`` or ``draw``.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> with take_point() as taken:
    ...     pyro.sample("z", dist.Normal(2.0, 1.0))
    tensor(2.)
    >>> taken.kinds
    {'z': 'mean'}
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, PointKind] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if not (msg["is_observed"] or site_is_subsample(msg)):
            msg["value"], self.kinds[msg["name"]] = point_of(msg["fn"])
            msg["done"] = True
