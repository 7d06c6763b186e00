"""The command line. Commands are loaded when they are called; ``--help`` loads none of them."""

if __name__ != "vaezoo.cli":
    raise ImportError("import the command line as 'vaezoo.cli'")

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from vaezoo.cli._flags import in_flags
from vaezoo.cli._streams import (
    LONGEST,
    OutputClosedError,
    discard_output,
    echo,
    is_closed,
    prepare_streams,
)
from vaezoo.errors import RequestError, RunError, VaezooError, is_out_of_memory, nearest, reason_of

__all__ = ["main"]

COMMANDS = {
    "list": "List the models of the zoo.",
    "show": "Show a model: its distributions, sites and settings.",
    "data": "List, show and fetch data sets.",
    "train": "Train a model.",
    "sweep": "Train with many settings and find the best.",
    "sample": "Draw new data from a trained model.",
    "reconstruct": "Reconstruct data.",
    "forecast": "Forecast the next frames of sequences.",
    "impute": "Fill in missing entries of data.",
    "encode": "Write the latents of data.",
    "latents": "Show where codes lie, and which latents are in use.",
    "sigma": "Show how wide the decoder is, and whether it should be.",
    "traverse": "Move each latent along its range.",
    "interpolate": "Go from one datum to another through the latents.",
    "arithmetic": "Add what tells two labels apart to the latents of data.",
    "explore": "Move the latents of a model by hand, on a page.",
    "probe": "Score latents by labels and known factors.",
    "evaluate": "Estimate how good a trained model is.",
    "compare": "Compare trained models on the same data.",
    "runs": "List trained models in a folder.",
    "report": "Write one page of a run: numbers, figures, verdict.",
    "analyse": "Check the posteriors of a trained model, and repair them.",
    "study": "Answer a question by many runs.",
    "card": "Write the card of a run, to share it.",
    "push": "Put a run on the Hugging Face Hub.",
    "pull": "Fetch a run from the Hugging Face Hub.",
    "explain-loss": "Say what a loss of another library stands for.",
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
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"vaezoo.cli.{name}"), name)
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

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the words of a command, or print help."""
        with _named_rightly():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the library says of arguments names this command's flags."""
        try:
            with _named_rightly():
                return super().invoke(ctx)
        except VaezooError as error:
            command = self.get_command(ctx, str(ctx.invoked_subcommand))
            error.args = (in_flags(str(error), command),)
            raise

    def main(self, args: Sequence[str] | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Run a command; a failure becomes one line and an exit code."""
        words = [*(sys.argv[1:] if args is None else args)]
        options.setdefault("prog_name", "vaezoo")
        prepare_streams()
        if "--debug" in words or options.get("standalone_mode") is False:
            return super().main([w for w in words if w != "--debug"], **options)
        sys.exit(self._code_of(words, options))

    def _code_of(self, words: list[str], options: dict[str, Any]) -> int:
        """Run a command, say in one line what failed, and return the exit code."""
        try:
            if any("\0" in word for word in words):  # what calls this in Python can write one
                raise RequestError("an argument holds a zero byte, which no name has")
            result = super().main(words, standalone_mode=False, **options)
            return result if isinstance(result, int) else 0
        except click.exceptions.NoArgsIsHelpError as error:
            echo(error.format_message(), err=True)
            return error.exit_code
        except OutputClosedError as error:
            return error.exit_code
        except BaseException as error:  # a file of the user raises what it likes
            if isinstance(error, SystemExit) and not _place_of(error):
                raise
            message, code = _answer(error)
            one_line = " ".join(line.strip() for line in message.splitlines())
            echo(f"vaezoo: {one_line}", err=True, limit=LONGEST)
            return code


@contextmanager
def _named_rightly() -> Iterator[None]:
    """Keep from click what it would take for an interrupt, or end without a word."""
    try:
        yield
    except EOFError as error:
        raise RunError(_unexpected(error)) from error
    except OSError as error:
        if not is_closed(error):
            raise
        if _place_of(error):  # a pipe of the user's file
            raise RunError(_unexpected(error)) from error
        discard_output()
        raise OutputClosedError from error


def _answer(error: BaseException) -> tuple[str, int]:
    """Return what is said of a failure, and the exit code."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # of somebody's pair; a generator that it passes hides it
    if isinstance(error, click.ClickException):
        return _one_line(error), error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, VaezooError):
        return str(error), error.exit_code
    return _unexpected(error), 1


def _unexpected(error: BaseException) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "the device is out of memory; use a smaller --batch-size or --device cpu"
    if is_out_of_memory(error):
        return "out of memory; use a smaller --batch-size or -n"
    if place := _place_of(error):
        return f"{place}: {reason_of(error, LONGEST)}"
    if isinstance(error, OSError) and error.errno:  # no files left, a full disk, a name too long
        of = f"{error.filename}: " if error.filename else ""
        return f"{of}{error.strerror}"
    reason = reason_of(error, LONGEST - 100, whole=True)
    return f"{reason} (a bug: run again with --debug for the traceback)"


def _place_of(error: BaseException) -> str:
    """Return the line of a user's file that led to an exception; empty when there is none."""
    files = sys.modules.get("vaezoo.registry.files")  # loads none where none was
    return files.place_of(error) if files else ""


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
