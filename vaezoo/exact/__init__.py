"""Exact answers, where there are any: log p(x) and posteriors of latents.

=======================  ==========================================================================
:mod:`.quadrature`       one or two latents, on a grid
:mod:`.linear_gaussian`  probabilistic PCA
:mod:`.kalman`           linear-Gaussian state space models
=======================  ==========================================================================
"""
