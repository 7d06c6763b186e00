"""p(z | x) by other means than the guide, and log p(x) with it.

=======================  ==========================================================================
:mod:`.importance`       importance weights of the guide, Pareto smoothing, resampling
:mod:`.scouts`           many short chains that share nothing, which find modes
:mod:`.clusters`         the modes that chains lie in
:mod:`.proposals`        a mixture of these modes, guide and prior, for what the guide misses
:mod:`.hmc`              Hamiltonian Monte Carlo, all data and chains at once
:mod:`.annealing`        annealed importance sampling, bounds of log p(x) from both sides: slow
:mod:`.local_fits`       the best Gaussian guide of each datum
:mod:`.filtering`        particle filters of sequences
:mod:`.completion`       draws of parts of data that are missing
:mod:`.metropolis`       the guide as their proposal: Metropolis within Gibbs
=======================  ==========================================================================

What they stand on: :mod:`.target` makes one vector of reals of all latents of a datum,
:mod:`.leapfrog` moves it, :mod:`.adaptation` learns how far.
"""
