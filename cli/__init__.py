"""The command line. Commands are loaded when they are called; ``--help`` loads none of them."""

if __name__ != "vaezoo.cli":
    raise ImportError("import the command line as 'vaezoo.cli'")

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from vaezoo.cli._flags import in_flags
from vaezoo.errors import VaezooError, nearest

__all__ = ["main"]

COMMANDS = {
    "list": "List the models of the zoo.",
    "show": "Show a model: its distributions, sites and settings.",
    "data": "List, show and fetch data sets.",
    "train": "Train a model.",
    "sample": "Draw new data from a trained model.",
    "reconstruct": "Reconstruct data.",
    "forecast": "Forecast the next frames of sequences.",
    "impute": "Fill in missing entries of data.",
    "encode": "Write the latents of data.",
    "evaluate": "Estimate how good a trained model is.",
    "analyse": "Check the posteriors of a trained model, and repair them.",
    "new": "Write a model/guide pair to start from.",
    "check": "Check that a model/guide pair keeps the contract.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"vaezoo.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'; {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the library says of arguments names this command's flags."""
        try:
            return super().invoke(ctx)
        except VaezooError as error:
            command = self.get_command(ctx, str(ctx.invoked_subcommand))
            error.args = (in_flags(str(error), command),)
            raise

    def main(self, args: Sequence[str] | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Run a command; a failure becomes one line and an exit code."""
        words = [*(sys.argv[1:] if args is None else args)]
        options.setdefault("prog_name", "vaezoo")
        if "--debug" in words or options.get("standalone_mode") is False:
            return super().main([w for w in words if w != "--debug"], **options)
        try:
            result = super().main(words, standalone_mode=False, **options)
            code = result if isinstance(result, int) else 0
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except (Exception, KeyboardInterrupt) as error:
            message, code = _answer(error)
            click.echo(f"vaezoo: {' '.join(message.split())}", err=True)
        sys.exit(code)


def _answer(error: BaseException) -> tuple[str, int]:
    """Return what is said of a failure, and the exit code."""
    if isinstance(error, click.ClickException):
        return _one_line(error), error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, VaezooError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller --batch-size or -n", 1
    return _unexpected(error), 1


def _unexpected(error: BaseException) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "the device is out of memory; use a smaller --batch-size or --device cpu"
    return f"{type(error).__name__}: {error} (a bug: run again with --debug for the traceback)"


def _one_line(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    where = f"; see {context.command_path} --help" if context else ""
    return f"{message}{where}"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Example:  vaezoo train vae-bernoulli --data mnist",
)
@click.version_option(package_name="vaezoo", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def main(debug: bool) -> None:
    """A zoo of variational autoencoders: train, sample and judge Pyro model/guide pairs."""
