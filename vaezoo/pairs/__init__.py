"""What can be known of any model/guide pair from its sites.

=====================  ============================================================================
:mod:`.sites`          arguments of a pair, traces of both sides, the sites that they visit
:mod:`.accounting`     log-densities, KL terms and importance weights of a datum, in nats
:mod:`.admission`      what stands in the way of a use of a pair, and its refusal
:mod:`.families`       elements, names, supports and means of distributions
:mod:`.handlers`       effect handlers: hold sites at values or means, scale latents, mask rows
:mod:`.particles`      several draws of the latents of every datum, through a pair at once
:mod:`.pieces`         rows in pieces, and pieces joined
:mod:`.predictions`    prior predictive, reconstructions, codes
:mod:`.simulation`     data of the model, in the place of a batch
:mod:`.lengths`        which entries of padded sequences are frames
:mod:`.blame`          the line of the user's file that something comes from
=====================  ============================================================================
"""
