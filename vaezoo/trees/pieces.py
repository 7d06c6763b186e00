"""Trees in pieces along ``datum``, and pieces joined, so that a whole need never be in memory."""

from collections.abc import Iterable, Iterator

import xarray as xr

__all__ = ["cut_tree", "join_trees"]

_PIECE = 2**26  # bytes


def join_trees(pieces: Iterable[xr.DataTree]) -> xr.DataTree:
    """Return one tree of pieces that follow each other along ``datum``."""
    trees = list(pieces)
    first = trees[0]
    if len(trees) == 1:
        return first
    groups = {
        name: xr.concat(
            [tree[name].to_dataset() for tree in trees],
            "datum",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
        if "datum" in node.dims
        else node.to_dataset()
        for name, node in first.children.items()
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = first.attrs
    return tree


def cut_tree(tree: xr.DataTree, most_bytes: int = _PIECE) -> Iterator[xr.DataTree]:
    """Yield a tree in pieces of some data each; what has no ``datum`` is in the first.

    Examples
    --------
    >>> tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"z": ("datum", [0.5, 1.5, 2.5])})})
    >>> pieces = list(cut_tree(tree, most_bytes=16))
    >>> [piece["posterior"].sizes["datum"] for piece in pieces], join_trees(pieces).identical(tree)
    ([2, 1], True)
    """
    groups = {name: node.to_dataset() for name, node in tree.children.items()}
    rows = max((group.sizes.get("datum", 0) for group in groups.values()), default=0)
    size = sum(group.nbytes for group in groups.values())
    every = max(1, rows * most_bytes // max(1, size))
    for start in range(0, max(1, rows), every):
        window = slice(start, start + every)
        held = {
            name: group.isel(datum=window) if "datum" in group.dims else group
            for name, group in groups.items()
            if start == 0 or "datum" in group.dims
        }
        piece = xr.DataTree.from_dict(held)
        piece.attrs = tree.attrs
        yield piece
