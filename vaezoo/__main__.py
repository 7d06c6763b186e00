"""``python -m vaezoo``: the command line, also where the program ``vaezoo`` is not on the path."""

from vaezoo.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
