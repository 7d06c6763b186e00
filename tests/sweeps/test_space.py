"""Spaces of settings are read and refused in words, before anything is trained."""

from collections.abc import Mapping, Sequence

import pytest

from vaezoo.errors import RequestError
from vaezoo.registry import get_model
from vaezoo.sweeps.space import check_space, read_space, settings_of


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ("log:1e-4..1e-2", (1e-4, 1e-2)),
        ("real:-1..1", (-1.0, 1.0)),
        ("int:2..64", (2, 64)),
        ("log-int:16..512", (16, 512)),
        ("a|b", ("a", "b")),
        ("8 | 16", (8, 16)),
        ("true|false", (True, False)),
        ("[64]|[64, 32]", ([64], [64, 32])),
        ([8, 16], (8, 16)),
        ([(64, 64), (32,)], ([64, 64], [32])),
        ([True, False], (True, False)),
        ("fixed:1|shared", ("fixed:1", "shared")),
    ],
)
def test_values(values: str | Sequence[object], ends: tuple[object, ...]) -> None:
    (dimension,) = read_space({"x": values})
    assert dimension.ends == ends


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ("log:0..1", "no logarithm at 0"),
        ("int:64..2", "is empty"),
        ("real:0..inf", "is empty"),
        ("int:1.5..2", "cannot be read"),
        ("real:1", "cannot be read"),
        ("a", "has no choice"),
        ("a|", "has no choice"),
        ([1], "has no choice"),
    ],
)
def test_values_that_are_none(values: str | Sequence[object], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        read_space({"x": values})


@pytest.mark.parametrize(
    ("space", "why"),
    [
        ({"lrr": "log:1e-4..1e-2"}, "no setting 'lrr'; did you mean 'lr'"),
        ({"z_dims": "int:2..8"}, "did you mean 'z_dim'"),
        ({"lr": "real:-1..1"}, "the space of 'lr': .*greater than 0"),
        ({"z_dim": "real:2..8.5"}, "the space of 'z_dim'"),
        ({"posterior": "diagonal|full-rnk"}, "did you mean 'full-rank'"),
        ({"likelihood.sigm": "shared|fixed:1"}, "the space of 'likelihood.sigm'"),
        ({"objective": "elbo|iwea"}, "the space of 'objective'"),
    ],
)
def test_spaces_of_what_there_is_not(space: Mapping[str, str], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        check_space(read_space(space), get_model("vae-gaussian"), None, {})


def test_a_part_is_chosen_before_its_options() -> None:
    values = {"likelihood.sigma": "shared", "likelihood": "gaussian"}
    assert settings_of({}, values) == {"likelihood": {"name": "gaussian", "sigma": "shared"}}
