"""Backpropagation through time by a plan: a loop over the graphs of one step.

The loop forward, and the one backward, are each one operation to autograd and to whatever captures
a training step, so that a graph does not grow with the length of a sequence. Where a compiler is
asked for, blocks of steps are compiled, of a size that does not depend on the length either.
"""
