"""Every help text fits a narrow terminal and has an example that can be run."""

import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from vaezoo.cli import COMMANDS, main

Vaezoo = Callable[..., Result]

DATA_COMMANDS = ["data list", "data show", "data explain-likelihood", "data fetch"]
ALL = ["", *COMMANDS, *DATA_COMMANDS]


@cache
def help_of(command: str) -> str:
    result = CliRunner().invoke(main, [*command.split(), "--help"], prog_name="vaezoo")
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


def command_of(words: str) -> click.Command:
    command: click.Command = main
    for word in words.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word) or command
    return command


def examples_of(command: str) -> list[str]:
    _, _, examples = help_of(command).partition("Example")
    return re.findall(r"vaezoo [^\n]*", examples)


def test_help_fits_80_columns() -> None:
    wide = [line for command in ALL for line in help_of(command).splitlines() if len(line) > 80]
    assert wide == []


def test_help_has_an_example_of_the_command() -> None:
    def has_example(command: str) -> bool:
        call = f"vaezoo {command}".rstrip()
        return any(example.startswith(call) for example in examples_of(command))

    assert [command for command in ALL if not has_example(command)] == []


def parsed(words: list[str]) -> click.Context:
    """Parse a command line without running it."""
    context = main.make_context("vaezoo", words)
    rest = [*context._protected_args, *context.args]
    _, command, rest = main.resolve_command(context, rest)
    assert command is not None
    while isinstance(command, click.Group):
        name, *rest = rest
        command = command.commands[name]
    return command.make_context(command.name, rest, parent=context)


def test_examples_are_command_lines() -> None:
    def is_refused(example: str) -> str | None:
        try:
            parsed(shlex.split(example)[1:])
        except click.ClickException as refusal:
            return f"{example}: {refusal.format_message()}"
        return None

    examples = [example for command in ALL for example in examples_of(command)]
    assert [refusal for example in examples if (refusal := is_refused(example))] == []


def test_short_help_is_help() -> None:
    def short(command: str) -> str:
        return CliRunner().invoke(main, [*command.split(), "-h"], prog_name="vaezoo").stdout

    assert [command for command in ALL if short(command) != help_of(command)] == []


def test_every_option_is_explained() -> None:
    unexplained = [
        f"{command} {option.opts[-1]}"
        for command in ALL
        for option in command_of(command).params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []


def test_listed_summaries_are_those_of_the_commands() -> None:
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", help_of(""), re.MULTILINE)


def test_version(vaezoo: Vaezoo) -> None:
    assert re.fullmatch(r"vaezoo \d+\.\d+\.\d+\S*\n", vaezoo("--version").stdout)


@pytest.mark.parametrize("group", ["", "data"])
def test_group_without_a_command_shows_its_help(vaezoo: Vaezoo, group: str) -> None:
    result = vaezoo(*group.split())
    assert result.stdout + result.stderr == help_of(group)


def test_debug_shows_the_traceback(vaezoo: Vaezoo) -> None:
    result = vaezoo("--debug", "show", "vae-bernuli")
    assert result.exit_code != 0
    assert "RequestError" in repr(result.exception)


def test_debug_may_stand_at_the_end(vaezoo: Vaezoo) -> None:
    """Where a person puts it who presses arrow-up and goes on typing."""
    assert "RequestError" in repr(vaezoo("show", "vae-bernuli", "--debug").exception)


def test_commands_run_twice_in_a_process(vaezoo: Vaezoo) -> None:
    for _ in range(2):
        assert vaezoo("list").exit_code == 0
        assert vaezoo("--help").exit_code == 0


def test_exit_code_of_a_failed_check(vaezoo: Vaezoo, tmp_path: Path) -> None:
    assert vaezoo("new", "mine.py").exit_code == 0
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("len(x)", "2"))
    assert vaezoo("check", "./mine.py").exit_code == 1


def test_exit_code_that_a_command_asks_for(monkeypatch: pytest.MonkeyPatch, vaezoo: Vaezoo) -> None:
    @click.command()
    def stop() -> None:
        raise click.exceptions.Exit(3)

    monkeypatch.setattr(type(main), "get_command", lambda *_: stop)
    assert vaezoo("list").exit_code == 3


def test_bug_is_one_line(monkeypatch: pytest.MonkeyPatch, vaezoo: Vaezoo) -> None:
    @click.command()
    def stop() -> None:
        raise ValueError("one\ntwo\n")

    monkeypatch.setattr(type(main), "get_command", lambda *_: stop)
    result = vaezoo("list")
    assert result.exit_code == 1
    assert re.fullmatch(r"vaezoo: ValueError: one two .*--debug.*\n", result.stderr)


def test_full_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch, vaezoo: Vaezoo) -> None:
    import torch

    @click.command()
    def stop() -> None:
        raise torch.OutOfMemoryError("tried to allocate 9 GiB\nof 2")

    monkeypatch.setattr(type(main), "get_command", lambda *_: stop)
    result = vaezoo("list")
    assert result.exit_code == 1
    assert re.fullmatch(r"vaezoo: .*out of memory.*--batch-size.*\n", result.stderr)


def test_show_prints_no_markup(vaezoo: Vaezoo) -> None:
    text = vaezoo("show", "lgssm").output
    assert "``" not in text
    assert ":mod:" not in text
    assert "z_t   (z_dim,)      latent, t = 0 ... T - 1\n" in text
