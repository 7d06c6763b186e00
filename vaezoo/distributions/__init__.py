"""What can be known of any distribution, and those that Pyro lacks.

=================  ================================================================================
:mod:`.families`   elements, names, supports and means of distributions
:mod:`.entries`    the density of some elements of an event, where it is that of each
:mod:`.supports`   coordinates that are reals
:mod:`.unit`       shares: the continuous Bernoulli
:mod:`.positive`   the log-normal, which padding does not harm
:mod:`.columns`    a row of a table
:mod:`.levels`     levels that have an order, the discretized logistic
:mod:`.totals`     counts of a known total
=================  ================================================================================
"""
