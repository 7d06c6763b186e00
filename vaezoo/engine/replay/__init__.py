"""How a captured graph runs without a compiler: the same bits, by fewer and cheaper calls."""
