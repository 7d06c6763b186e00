"""The information of latents about data, and what it cannot be told of."""

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions.transforms import conditional_affine_autoregressive
from torch import Tensor, nn

from vaezoo.predict.information import mutual_information


class ConditionalFlow(nn.Module):
    """q(z | x) is a flow whose context is the row's own x."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = conditional_affine_autoregressive(2, context_dim=3)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample(
                "x", dist.Normal(z.sum(-1, keepdim=True).expand(-1, 3), 1.0).to_event(1), obs=x
            )

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            base = dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1)
            fn = dist.ConditionalTransformedDistribution(base, [self.flow]).condition(x)
            pyro.sample("z", fn)


def test_flow_with_a_context_of_each_row_is_left_out() -> None:
    """The density of a latent under the context of another row cannot be asked for."""
    with torch.no_grad():
        assert mutual_information(ConditionalFlow(), (torch.randn(5, 3),)) is None
