"""What can be known of any model/guide pair from its sites.

====================  =============================================================================
:mod:`.sites`         arguments of a pair, traces of both sides, the sites that they visit
:mod:`.plates`        which plates share a site out among data, and its weight
:mod:`.materialise`   lazy layers, by a pass over a few rows
:mod:`.accounting`    log-densities, KL terms and importance weights of a datum, in nats
:mod:`.divergences`   KL of the sites that have it in closed form
:mod:`.enumeration`   discrete latents summed over
:mod:`.admission`     what stands in the way of a use of a pair, and its refusal
:mod:`.handlers`      effect handlers: hold sites at values or means, scale latents, mask rows
:mod:`.particles`     several draws of the latents of every datum, through a pair at once
:mod:`.pieces`        rows in pieces, and pieces joined
:mod:`.precision`     any pair in double precision
:mod:`.lengths`       which entries of padded sequences are frames
====================  =============================================================================
"""
