"""``vaezoo new``: a file with a model/guide pair to start from."""

from pathlib import Path

import click

from vaezoo.cli._streams import echo
from vaezoo.errors import command

__all__ = ["new"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sequence", is_flag=True, help="A pair for sequences, one latent per step.")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
def new(file: Path, sequence: bool, force: bool) -> None:
    """Write FILE with a small model/guide pair that trains as it is.

    The names of the class and of the pair come from the file: my_vae.py has MyVae, my-vae.

    \b
    Examples:
      vaezoo new my_vae.py
      vaezoo new my_rnn.py --sequence
    """
    from vaezoo.testing import scaffold

    scaffold.write(file, sequence=sequence, force=force)
    target = file if file.is_absolute() else f"./{file}"
    echo(f"wrote {file}. Next:")
    echo(f"  {command('check', target)}")
    echo(f"  {command('train', target)}")
