"""Write the numbers of every page of docs/results beside it, as rows of one schema.

    python benchmarks/rows.py

Scripts do it when they write a page; this is for pages whose tables were changed by hand.
"""

from _rows import RESULTS, write_rows

OF_THEIR_OWN = ("papers", "zoo")  # whose rows come first, and the page from them

if __name__ == "__main__":
    for page in sorted(RESULTS.glob("*.md")):
        if page.stem not in OF_THEIR_OWN:
            print(f"{page.stem}: {len(write_rows(page))} rows")
