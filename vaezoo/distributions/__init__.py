"""What can be known of any distribution.

=================  ================================================================================
:mod:`.families`   elements, names, supports and means of distributions
:mod:`.entries`    the density of some elements of an event, where it is that of each
:mod:`.supports`   coordinates that are reals
=================  ================================================================================
"""
