"""The checks name the user's line of a broken sequence pair, whose sample sites are vaezoo's."""

from pathlib import Path

import pytest

from vaezoo.registry import get_model
from vaezoo.testing import check_class
from vaezoo.testing.scaffold import write

AS_METHODS = [
    ("self.prior = ", "self.prior_head = "),
    ("self.likelihood = ", "self.decoder = "),
    ("self.posterior = ", "self.encoder = "),
    ("    def transition(", "{methods}    def transition("),
]
METHODS = """    def prior(self, h):
        return self.prior_head(h)

    def likelihood(self, z, h):
        return self.decoder(z, h)

    def posterior(self, e, h):
        return self.encoder(e, h)

"""
PRIOR = "        return self.prior_head(h)"
LIKELIHOOD = "        return self.decoder(z, h)"
POSTERIOR = "        return self.encoder(e, h)"
TRANSITION = "        return self.gru(torch.cat([f, z], -1), h)"
MODULE = "self.prior = NoEvent(hidden, z_dim)"
NO_EVENT = """class NoEvent(nn.Linear):
    def forward(self, h):
        from pyro import distributions as dist

        return dist.Normal(super().forward(h), 1.0)


# A SequencePair is"""
WIDE_PRIOR = ("parts.Encoder((hidden,)), z_dim)", "parts.Encoder((hidden,)), z_dim + 1)")
WIDE_POSTERIOR = ("[hidden]), z_dim)", "[hidden]), z_dim + 1)")
BACKWARDS = """    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        return x.flatten(2).flip(1).cumsum(1).flip(1)

    def prior("""
INFINITE = """        fn = self.prior_head(h).base_dist
        return type(fn)(fn.loc, 1e-30 * torch.ones_like(fn.loc)).to_event(1)"""

# name: what is replaced, the line that is named, the check that finds it, words of the failure
BROKEN = {
    "prior_without_event": (
        [(PRIOR, f"{PRIOR}.base_dist")],
        ("def prior(", "shapes", "site 'z_0' has batch shape (7, 8)", "add .to_event(1)"),
    ),
    "posterior_without_event": (
        [(POSTERIOR, f"{POSTERIOR}.base_dist")],
        ("def posterior(", "shapes", "site 'z_0' has batch shape (7, 8)", "add .to_event(1)"),
    ),
    "likelihood_without_event": (
        [(LIKELIHOOD, f"{LIKELIHOOD}.base_dist")],
        ("def likelihood(", "shapes", "site 'x_0' has batch shape (7, 4)", "add .to_event(1)"),
    ),
    "prior_module_without_event": (
        [
            ("# A SequencePair is", NO_EVENT),
            ("self.prior_head = parts.DiagonalNormal(parts.Encoder((hidden,)), z_dim)", MODULE),
            ("def prior(", "def _prior("),
        ],
        ("self.prior = ", "shapes", "site 'z_0' has batch shape (7, 8)", "add .to_event(1)"),
    ),
    "wide_posterior": (
        [WIDE_POSTERIOR],
        ("def posterior(", "shapes", "event shape (9,), the prior (8,)", "both z_dim"),
    ),
    "wide_prior": (
        [WIDE_PRIOR],
        ("def posterior(", "shapes", "event shape (8,), the prior (9,)", "both z_dim"),
    ),
    "wide_cell": (
        [("nn.GRUCell(x_dim", "nn.GRUCell(1 + x_dim")],
        (TRANSITION.strip(), "runs", "input_size", "correct this line"),
    ),
    "cell_as_transition": (
        [("self.gru = ", "self.transition = "), ("def transition(", "def _transition(")],
        ("self.transition = ", "runs", "positional arguments", "correct this line"),
    ),
    "no_prior": (
        [("def prior(", "def priors(")],
        ("@register(", "runs", "no attribute 'prior'", "correct this line"),
    ),
    "reads_padding": (
        [("    def prior(", BACKWARDS)],
        ("def posterior(", "padding", "'z_0' depends on frames beyond", "read x only up to length"),
    ),
    "noise_in_prior": (
        [(PRIOR, "        return self.prior_head(h + torch.randn_like(h))")],
        ("def prior(", "seeds", "changes with the seed", "make the noise a latent"),
    ),
    "batch_mean_in_prior": (
        [(PRIOR, "        return self.prior_head(h - h.mean(0))")],
        ("def prior(", "rows", "depends on the other rows", "compute per row"),
    ),
    "infinite_density": (
        [(PRIOR, INFINITE)],
        ("def prior(", "finite", "log-density of site 'z_0' is -inf", "floor"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_failure_names_the_line_of_the_user(name: str, tmp_path: Path) -> None:
    changes, (marker, check, what, repair) = BROKEN[name]
    path = tmp_path / f"{name}.py"
    write(path, sequence=True)
    text = path.read_text(encoding="utf-8")
    for old, new in [*AS_METHODS, *changes]:
        assert old in text
        text = text.replace(old, new.format(methods=METHODS) if "{" in new else new)
    path.write_text(text, encoding="utf-8")
    line = next(
        i for i, words in enumerate(text.splitlines(), 1) if words.strip().startswith(marker)
    )
    failure = check_class(get_model(str(path))).failures[0]
    assert failure.where.endswith(f"{name}.py:{line}"), failure
    assert failure.check == check
    assert what in failure.what
    assert repair in failure.repair
