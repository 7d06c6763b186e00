"""Settings as a person types them."""

from vaezoo.cli._settings import parse_settings


def test_values_are_toml_or_plain_words() -> None:
    words = ["a=1", "b=1.5", "c=true", "d=[1, 2]", "e=relu", "f='2'", "g=x=y"]
    values = {"a": 1, "b": 1.5, "c": True, "d": [1, 2], "e": "relu", "f": "2", "g": "x=y"}
    assert parse_settings(words) == values


def test_numbers_with_commas_are_a_list() -> None:
    words = ["hidden=200,100", "a=0.5,2", "b=x,y", "c=[1,2]"]
    assert parse_settings(words) == {"hidden": [200, 100], "a": [0.5, 2], "b": "x,y", "c": [1, 2]}
