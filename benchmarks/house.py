"""How large is the house? Lines, modules of each room, and how long functions are.

A function has the lines from its ``def`` to its end, docstring left out. The script imports nothing
of vaezoo, so that it measures any checkout.

    python benchmarks/house.py              this one
    python benchmarks/house.py OTHER        the one in another folder
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[1])
parser.add_argument("--longest", type=int, default=10, help="functions to name [default: 10]")

SHORT = 20
Function = ast.FunctionDef | ast.AsyncFunctionDef
HasDocstring = Function | ast.ClassDef | ast.Module
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def sources(folder: Path) -> list[Path]:
    """Return the Python files below a folder, those behind its links left out."""
    links = [path for path in folder.iterdir() if path.is_symlink()]
    files = sorted(folder.rglob("*.py"))
    return [file for file in files if not any(link in file.parents for link in links)]


def num_lines(files: list[Path]) -> int:
    """Return the lines of files, comments, docstrings and blank lines included."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def num_code_lines(files: list[Path]) -> int:
    """Return the lines of files that hold code: no comment, docstring or blank line."""
    return sum(len(code_lines(file.read_text(encoding="utf-8"))) for file in files)


def code_lines(source: str) -> set[int]:
    """Return the numbers of the lines of a source that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE and token.line.strip():
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, HasDocstring) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines


def functions(file: Path) -> Iterator[Function]:
    """Yield every function of a file, methods and those inside others included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Return the lines of a function from its ``def``, without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    return lines - ((first.end_lineno or first.lineno) - first.lineno + 1) * has_docstring


def print_lines(folder: Path) -> None:
    """Print the lines of each part of a checkout."""
    print("| part | files | lines | of code |\n|---|---|---|---|")
    for part in ("vaezoo", "models", "cli", "tests", "benchmarks"):
        files = sources(folder / part)
        print(f"| {part} | {len(files)} | {num_lines(files):,} | {num_code_lines(files):,} |")


def print_rooms(library: Path) -> None:
    """Print how many modules a room has, its ``__init__`` left out, and its longest file."""
    modules: Counter[str] = Counter()
    longest: dict[str, int] = {}
    for file in sources(library):
        room = file.relative_to(library).parent.as_posix()
        modules[room] += file.name != "__init__.py"
        longest[room] = max(longest.get(room, 0), num_lines([file]))
    print("\n| room | modules | longest file |\n|---|---|---|")
    for room, number in sorted(modules.items()):
        print(f"| {'(its own)' if room == '.' else room} | {number} | {longest[room]} |")


def print_functions(folder: Path, num_longest: int) -> None:
    """Print how long the functions of library, models and commands are."""
    lengths = [
        (length(function), f"{file.relative_to(folder).as_posix()}:{function.name}")
        for part in ("vaezoo", "models", "cli")
        for file in sources(folder / part)
        for function in functions(file)
    ]
    lengths.sort(reverse=True)
    numbers = [number for number, _ in lengths]
    share = sum(number <= SHORT for number in numbers) / len(numbers)
    print(f"\n{len(numbers):,} functions, median {median(numbers):g} lines, p90 ", end="")
    print(f"{numbers[len(numbers) // 10]}; {share:.1%} have at most {SHORT}. The longest:\n")
    for number, name in lengths[:num_longest]:
        print(f"{number:4} {name}")


def main() -> None:
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    print_lines(folder)
    print_rooms(folder / "vaezoo")
    print_functions(folder, arguments.longest)


if __name__ == "__main__":
    main()
