"""What can be known of the observed sites of any pair.

====================  =============================================================================
:mod:`.roles`         which arguments of a model are observed, and at which sites
:mod:`.missing`       the pair that leaves missing entries of what is observed out
:mod:`.predictions`   prior predictive, reconstructions, codes
:mod:`.simulation`    data of the model, in the place of a batch
====================  =============================================================================
"""
