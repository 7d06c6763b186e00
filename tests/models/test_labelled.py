"""Models of data in classes, against what is known in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

from vaezoo import fit, sample
from vaezoo.config import build_model
from vaezoo.data import load_data
from vaezoo.models.labelled import CVAE, GMVAE, SSVAE
from vaezoo.pairs.accounting import elbo_terms, log_weights

X = torch.bernoulli(torch.full((4, 3, 3), 0.5), generator=torch.Generator().manual_seed(0))
SMALL = {"z_dim": 2, "hidden": [5]}


def built(cls: type, **settings: Any) -> Any:
    torch.manual_seed(0)
    return build_model(cls, {**SMALL, **settings}, (3, 3))


def test_labels_are_counted_in_the_data() -> None:
    run = fit("cvae", "digits", config=SMALL, training={"steps": 1})
    assert run.config["num_labels"] == 10


def test_samples_are_given_a_label() -> None:
    run = fit("cvae", "digits", config=SMALL, training={"steps": 1})
    assert sample(run, 3, given={"label": 7}).shape == (3, 8, 8)


def test_another_label_is_another_distribution() -> None:
    pair, z = built(CVAE, num_labels=3), torch.zeros(1, 2)
    means = [pair.decoder(z, pair.one_hot[k : k + 1]).mean for k in range(3)]
    assert not torch.allclose(means[0], means[1])
    assert not torch.allclose(means[1], means[2])


def mixture_of(pair: GMVAE) -> Any:
    components = dist.Normal(pair.means, (pair.log_var.exp() + 1e-4).sqrt()).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=pair.logits), components)


def test_summed_over_clusters_the_prior_is_a_mixture() -> None:
    """log p(x, z) - log q(z | x), with c summed out, of the same draws of z."""
    pair = built(GMVAE, num_clusters=4)
    with torch.no_grad():
        pair.logits.copy_(torch.randn(4))
        pair.log_var.copy_(torch.randn(4, 2))
        torch.manual_seed(1)
        weights = log_weights(pair, (X,), 1)[0]
        torch.manual_seed(1)
        q = pair.encoder(X)
        z = q.rsample()
        expected = mixture_of(pair).log_prob(z) + pair.decoder(z).log_prob(X) - q.log_prob(z)
    torch.testing.assert_close(weights, expected)


def test_clusters_are_posterior_probabilities() -> None:
    pair, z = built(GMVAE, num_clusters=4), torch.randn(6, 2)
    joint = [pair.logits.log_softmax(0)[k] + pair._cluster(torch.tensor(k)).log_prob(z)
             for k in range(4)]  # fmt: skip
    expected = (torch.stack(joint, -1) - mixture_of(pair).log_prob(z).unsqueeze(-1)).exp()
    torch.testing.assert_close(pair.clusters(z), expected)


def elbo_of(pair: Any, label: list[int]) -> Tensor:
    torch.manual_seed(2)
    return elbo_terms(pair, (X, torch.tensor(label))).elbo


def test_a_label_takes_the_place_of_the_class() -> None:
    """-L(x, y) of eq. 6 plus alpha log q(y | x), over draws of z."""
    pair = built(SSVAE, num_labels=3, alpha=2.0)
    with torch.no_grad():
        draws = torch.stack([elbo_of_many(pair, [1, 1, 2, 0], seed) for seed in range(400)])
        one_hot = pair.one_hot[torch.tensor([1, 1, 2, 0])]
        q = pair.encoder(X.flatten(1), one_hot)
        z = q.sample((400,))
        recon = pair.decoder(z, one_hot.expand(400, 4, 3)).log_prob(X)
        terms = recon + pair.prior().log_prob(z) - q.log_prob(z) - np.log(3)
        log_q = pair.classify(X).log()[torch.arange(4), torch.tensor([1, 1, 2, 0])]
        expected = terms.mean(0) + 2.0 * log_q
        error = ((draws.var(0) + terms.var(0)) / 400).sqrt()
    # Failure rate below 1e-7: six standard errors of four rows.
    assert bool(((draws.mean(0) - expected).abs() < 6 * error + 1e-4).all())


def elbo_of_many(pair: Any, label: list[int], seed: int) -> Tensor:
    torch.manual_seed(seed)
    return elbo_terms(pair, (X, torch.tensor(label))).elbo


def test_without_labels_no_classifier_is_told_anything() -> None:
    alphas = [elbo_of(built(SSVAE, num_labels=3, alpha=alpha), [-1] * 4) for alpha in (0.0, 9.0)]
    torch.testing.assert_close(*alphas)


@pytest.mark.slow
def test_a_few_labels_classify_the_digits() -> None:
    """From 20 labels a class; chance is 0.1."""
    digits = load_data("digits")
    label, few = digits.arrays["label"], np.full(len(digits.x), -1)
    train = digits.rows("train")
    some = np.concatenate([train[label[train] == k][:20] for k in range(10)])
    few[some] = label[some]
    data = replace(digits, arrays={"x": digits.x, "label": few})
    run = fit("ssvae", data, config={"hidden": [100], "z_dim": 5}, training={"epochs": 20})
    test = digits.rows("test")
    with torch.no_grad():
        q_y = run.pair.classify(torch.as_tensor(digits.x[test] / 16, dtype=torch.float32))  # type: ignore[operator]
    assert (q_y.argmax(-1).numpy() == label[test]).mean() > 0.75
