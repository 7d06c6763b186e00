"""The figures of a report, each with a caption that says what its shape means."""

from collections.abc import Iterator

from vaezoo.report.canvas import Figure
from vaezoo.report.findings import Report
from vaezoo.report.model_figures import model_figures
from vaezoo.report.posterior_figures import posterior_figures
from vaezoo.report.sequence_figures import sequence_figures

__all__ = ["figures_of"]


def figures_of(report: Report) -> Iterator[Figure]:
    """Yield the figures that there is something to show in."""
    if report.sequences:
        yield from sequence_figures(report.sequences)
    yield from posterior_figures(report)
    yield from model_figures(report)
