"""How the weights of an epoch are judged: always on the same rows, and with the same noise."""

import math
from functools import cached_property

import torch
from torch import nn

from vaezoo.data.batches import Batches
from vaezoo.data.transform import Transform
from vaezoo.engine.many.graphs import Graphs
from vaezoo.engine.repayment import captures
from vaezoo.errors import NonFiniteError
from vaezoo.objectives.base import Context, Objective
from vaezoo.objectives.losses import PAIR, named_losses
from vaezoo.observations.learning import unlearned
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import split_rows, trial_rows
from vaezoo.pairs.sites import Args, argument_names, repeat_rows, takes_lengths, trace_pair
from vaezoo.runtime.device import seeded
from vaezoo.settings import Training
from vaezoo.training.measuring.batch import BatchTerms, CapturedTerms, TermsOf
from vaezoo.training.measuring.rows import Rows
from vaezoo.training.metrics import Metrics, average, measure

__all__ = ["Validation"]

MOST_ROWS = {"train": 2_500, "validation": 10_000}
FEWEST_DRAWS = {"train": 100, "validation": 500}
DRAWS_OF_SHARED = 50
ROWS_AT_ONCE = 100


class Validation:
    """Measures a pair on the validation rows, and on some of the training rows.

    Few validation rows (or frames of sequences) are measured several times, so that the noise of an
    epoch is small. No choice rests on the training rows: they are as many, up to 2,500, and one
    draw of each is enough, since data differ by more than draws do.

    Parameters
    ----------
    pair
        The pair; it is left in the mode for evaluation.
    batches
        The rows of its data.
    transform
        What happens to their values.
    objective
        What the pair is trained for.
    training
        Has the seed of the noise, and says whether terms of a batch are captured, as its steps are.
    num_steps
        Of the training: at their end schedules have ended, and by it all epochs are judged alike.
    """

    def __init__(
        self,
        pair: nn.Module,
        batches: Batches,
        transform: Transform,
        objective: Objective,
        training: Training,
        num_steps: int,
    ) -> None:
        self.pair = pair
        self.batches = batches
        self.transform = transform
        self.objective = objective
        self.seed = training.seed
        self.num_steps = num_steps
        self.num_data = batches.num_units("train")
        # The time of sequences goes into their frames.
        self.captured = captures(training.engine, num_steps) and not takes_lengths(pair)
        self._graphs = Graphs()
        self._rows: dict[str, list[Rows]] = {}

    def share(self, other: "Validation") -> None:
        """Take over, and hand on, what is captured for another seed."""
        self._graphs = other._graphs

    def measure(self) -> tuple[Metrics, Metrics]:
        """Return the metrics of the training and of the validation rows."""
        self.pair.eval()
        with seeded(self.seed, self.batches.device):
            validation, train = map(self._metrics, ("validation", "train"))
            if self.captured and not math.isfinite(validation.recon - validation.kl):
                # As it is, so that a distribution which refuses its parameters says so.
                measure(self.pair, self._args("validation"), self.transform)
        return train, validation

    def _metrics(self, split: str) -> Metrics:
        return average(
            self._measured(split), self._terms_of, self.transform, num_data=self.num_data
        )

    @cached_property
    def _terms(self) -> TermsOf:
        return CapturedTerms(self.pair, self._graphs) if self.captured else TermsOf(self.pair)

    def _terms_of(self, rows: Rows) -> BatchTerms:
        return self._terms(rows.args, rows.times)

    def judge(self, beta: float) -> tuple[Metrics, Metrics, float]:
        """Return the metrics of the training and of the validation rows, and the score of these.

        Raises
        ------
        NonFiniteError
            When a distribution refuses its parameters, which are nan, say.
        """
        try:
            train, validation = self.measure()
            return train, validation, self.score(validation, beta)
        except ValueError as error:
            reason, _, _ = str(error).partition(", but found invalid values")
            if "to satisfy the constraint" not in reason:
                raise
            raise NonFiniteError(f"the validation rows cannot be measured: {reason}") from error

    def finite_score(self, beta: float) -> float:
        """Return what :meth:`judge` does, and -inf where the rows cannot be measured."""
        try:
            return self.judge(beta)[2]
        except NonFiniteError:
            return -math.inf

    def unlearned(self, elbo: float) -> float | None:
        """Return what independent elements have of the validation rows, where that is hardly less.

        In nats per datum; None otherwise (:func:`vaezoo.observations.learning.unlearned`).
        """
        train = self.batches.fixed("train", limit=MOST_ROWS["validation"])
        return unlearned(self.pair, train, self._args("validation"), elbo)

    @torch.no_grad()
    def score(self, validation: Metrics, beta: float) -> float:
        """Return what the best weights are chosen by, in nats per datum; higher is better.

        It is the ELBO with weight ``beta`` on its KL term, or the bound that is optimised where it
        is another one.
        """
        if getattr(self.objective, "judged_by_elbo", True):
            return validation.score(beta)
        total = units = 0.0
        context = Context(beta, step=self.num_steps, num_data=self.num_data)
        with seeded(self.seed, self.batches.device):
            for batch in self._args("validation"):
                for args in split_rows(batch, ROWS_AT_ONCE):
                    size = float(num_units(self.pair, args))
                    losses = named_losses(self.objective.loss(self.pair, args, context))
                    total -= size * float(losses[PAIR])
                    units += size
        return total / units

    @cached_property
    def _shares(self) -> bool:
        """Whether there are latents that all data share."""
        few = trial_rows(next(self.batches.fixed("validation")))
        with probing(self.pair, self.batches.device):
            return bool(trace_pair(self.pair, self.batches.few_frames(few)).global_latents)

    def _args(self, split: str) -> list[Args]:
        return [rows.args for rows in self._measured(split)]

    def _measured(self, split: str) -> list[Rows]:
        if split not in self._rows:
            size = min(self.batches.size("validation"), MOST_ROWS[split])
            generator = torch.Generator().manual_seed(0)
            positions = torch.randperm(self.batches.size(split), generator=generator)[:size]
            batches = list(self.batches.fixed(split, positions=positions))
            units = sum(int(num_units(self.pair, args)) for args in batches)
            # What all data share has one draw in each batch.
            passes = math.ceil(DRAWS_OF_SHARED / len(batches)) if self._shares else 1
            times = math.ceil(FEWEST_DRAWS[split] / (units * passes))
            names = argument_names(self.pair)
            rows = [
                Rows(repeat_rows(args, times), names, self.transform, times=times)
                for args in batches
            ]
            self._rows[split] = rows * passes
        return self._rows[split]
