"""What is measured of a run of a study, by public functions of the library."""

__all__ = ["UNITS"]

_NATS = (
    *("log p(x)", "ELBO", "KL", "information", "marginal KL"),
    *("ELBO, best", "ELBO, last", "gap, best", "gap, last"),
    *("below the optimum", "below log p(x)"),
    *("ELBO of fits", "amortisation gap", "lost without mu", "lost without sigma"),
)
UNITS = {**dict.fromkeys(_NATS, "nats"), "angle": "degrees"}
