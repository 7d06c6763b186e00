"""The engine: one step of stochastic variational inference, as fast as its arithmetic allows.

A step is an evaluation, which gives the loss and its gradients, and an update of the parameters.
Only the evaluation has tiers:

``eager``
    Pyro's estimator and autograd as they are: the reference.
``graph``
    The operations of that evaluation, captured once and called one after the other: no Python of
    Pyro, of the pair or of autograd runs any more. Needs no compiler.
``compiled``
    The same graph through Inductor: fused loops.

On a GPU, evaluation and update of the last two are recorded as one CUDA graph.

Invariants
    1. All tiers draw the same noise from the same generators and share one update, so that a change
       of tier changes nothing but rounding and speed.
    2. Parameters, buffers and optimiser state are updated in place: they are true at all times.
    3. A captured step is compared with the eager one when it is made, for one number of frames of
       those that there are, and every 1,000 steps. What cannot be captured, or differs, runs
       eagerly, and one line says why.
    4. A step that is not finite changes nothing, in any tier.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vaezoo.checks.blame import class_of, line_of, one_line
from vaezoo.checks.culprits import StepError, find_culprit
from vaezoo.engine.batch_kind import BatchKind, Trial, calls_by_tier, kind_of
from vaezoo.engine.capture import Function, NotCapturedError
from vaezoo.engine.compiler import NotCompiledError, compile_graph
from vaezoo.engine.cudagraph import is_recordable, record
from vaezoo.engine.gradients import Prepare, filled_up, loss_and_gradients
from vaezoo.engine.groups import Optimizers
from vaezoo.engine.many.graphs import Graphs
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.outcomes import difference_from_eager
from vaezoo.engine.precision import precision_on
from vaezoo.engine.recurrence.planned import Planned
from vaezoo.engine.repayment import (
    FEWEST_STEPS_CAPTURED,
    Shorten,
    Trials,
    compiling_repays,
    whole_rows,
)
from vaezoo.errors import NonFiniteError, reason_of
from vaezoo.objectives.base import Objective, ignores_padding
from vaezoo.objectives.losses import PAIR, networks_of, together
from vaezoo.options import EngineName, Precision
from vaezoo.pairs.lengths import FEW_FRAMES
from vaezoo.runtime.isolation import untouched

__all__ = ["Engine"]
Tensors = Sequence[Tensor]
CHECKED_EVERY, CONSIDERED_EVERY, MOST_KINDS = 1_000, 256, 64
_UNOWNED = "a tensor that belongs to no module is used, and is not saved; register it as a buffer"


class Engine:
    """Takes steps.

    Parameters
    ----------
    pair
        The pair to train.
    objective
        Gives the loss, in nats per datum (per frame for sequences).
    optimizer
        Over the parameters of the pair; with several losses, one for the group of each.
    clip_norm
        Largest norm of the gradient; 0 for no clipping.
    engine
        The tier; ``auto`` takes the graph from 500 planned steps on, and compiles it when that
        repays.
    precision
        Of the products inside networks; log-densities are in float32.
    prepare
        From rows as they are stored to the arguments of model and guide, as a part of the step.
    shorten
        From rows and a number to their first frames, where they are sequences: tries are made on
        few of them, so that no shape costs more before its first step than others.
    batch_size
        With one, shorter batches are filled up to it with rows that a mask leaves out, so that all
        are of one kind; not where the rows of a batch depend on each other, as in batch norm.
    num_steps, num_data
        How many steps are planned; number of data (of frames for sequences) in the training set.
    is_prepared
        Whether the objective has been prepared for the pair.
    merge
        Makes of what this process has evaluated what all that train together have.
    notify
        Is told in one line what is not done as asked: kind of the notice, and the line.
    """

    def __init__(
        self,
        pair: nn.Module,
        objective: Objective,
        optimizer: Optimizer | Optimizers,
        *,
        clip_norm: float = 0.0,
        engine: EngineName = "auto",
        precision: Precision = "float32",
        prepare: Prepare = tuple,
        shorten: Shorten = whole_rows,
        batch_size: int = 0,
        num_steps: int = 0,
        num_data: float = math.inf,
        is_prepared: bool = False,
        merge: Function | None = None,
        notify: Callable[[str, str], None] = lambda kind, line: None,
    ) -> None:
        self.pair = pair
        self.objective, self.is_prepared = objective, is_prepared
        self.whole = together(pair, networks_of(objective, pair)) if is_prepared else pair
        if isinstance(optimizer, Optimizer):
            optimizer = Optimizers({PAIR: optimizer})
        self.optimizer = optimizer
        self.max_norm = clip_norm or float("inf")
        self.engine = engine
        self.precision: Precision = precision_on(precision, optimizer.lr.device)
        self.prepare, self.batch_size = prepare, batch_size
        self.num_steps, self.num_data = num_steps, num_data
        self.merge, self.notify = merge, notify
        self.num_calls = 0
        self.device = optimizer.lr.device
        self.beta, self._beta = torch.ones((), device=self.device), 1.0
        self._last: Tensors = ()
        self.graphs = Graphs()
        self._kinds: dict[object, BatchKind] = {}
        self._trials = Trials(pair, prepare, shorten)
        self._masks_rows: bool | None = None
        self._next_check = CHECKED_EVERY
        self._pool = torch.cuda.graph_pool_handle() if is_recordable(self.device) else None
        self._all_rows = torch.ones(batch_size, dtype=torch.bool, device=self.device)
        self.may_compile = engine in ("auto", "compiled")
        recurrence = getattr(pair, "recurrence", None)
        self._recurrence = recurrence if isinstance(recurrence, Planned) else None

    def __call__(self, raw: Tensors, beta: float = 1.0) -> Tensor:
        """Take one step on a batch and return its loss, a scalar on the device.

        Raises
        ------
        NonFiniteError
            On the CPU, when loss or gradients are not finite. Elsewhere :meth:`check` says so, and
            no step changes anything until then.
        """
        return self.take(*self.ready(raw, beta))

    def ready(self, raw: Tensors, beta: float) -> tuple[BatchKind, tuple[Tensor, ...]]:
        """Return how a step on a batch is evaluated, and on what."""
        self._last = raw
        inputs = self._inputs(raw, beta)
        return self._kind(inputs), inputs

    def take(self, kind: BatchKind, inputs: Tensors, outcome: Tensors = ()) -> Tensor:
        """Take the step that is ready, evaluated already where there is an outcome."""
        loss = kind.recorded(inputs) if kind.recorded else self._step(kind, inputs, outcome)
        kind.num_calls += 1
        self.num_calls += 1
        if self.device.type == "cpu":
            self.check()
        return loss

    def check(self) -> None:
        """Raise :class:`NonFiniteError` when a step was not finite."""
        if bool(self.optimizer.failed):
            with untouched(self.whole, self.device):
                raise self._failure()

    def _failure(self) -> NonFiniteError:
        names = {id(parameter): name for name, parameter in self.whole.named_parameters()}
        optimised = [names[id(p)] for group in self.optimizer.parameters.values() for p in group]
        try:
            args = self.prepare(self._last)
            again = partial(self.evaluate, self._last, self._beta)
            return StepError(find_culprit(self.pair, args, again, optimised, beta=self._beta))
        except Exception as error:  # whatever a pair does with what is not finite
            return NonFiniteError(reason_of(error))

    def evaluate(self, raw: Tensors, beta: float = 1.0) -> tuple[Tensor, list[Tensor]]:
        """Return the eager loss of a batch and its gradients; take no step."""
        kl_weight = torch.full_like(self.beta, beta)
        inputs = (kl_weight, self.optimizer.step, *raw)
        loss, _, _, *gradients = self._function(masked=False)(inputs)
        return loss, gradients

    @property
    def calls_by_tier(self) -> dict[str, int]:
        """Number of steps by the tier on which batches of their kind run now."""
        return calls_by_tier(self._kinds.values())

    @property
    def has_compiled_steps(self) -> bool:
        """Whether the steps of a recurrence are compiled."""
        return self._recurrence is not None and self._recurrence.compiled

    def compile_steps(self) -> None:
        """Compile the steps of a recurrence, where the pair has one."""
        try:
            if self._recurrence:
                self._recurrence.compile()
        except NotCompiledError as error:
            self.may_compile = False
            self.notify("compiler", f"training is not compiled: {error}")

    def _step(self, kind: BatchKind, inputs: Tensors, outcome: Tensors = ()) -> Tensor:
        before = [buffer.clone() for buffer in kind.written]
        began = time.perf_counter()
        outcome = outcome or kind.run(inputs)
        kind.times.append(time.perf_counter() - began)
        loss, divisor, finite, *gradients = self.merge(outcome) if self.merge else outcome
        self.optimizer.update(gradients, divisor, finite)
        # An evaluation has written to its buffers before it is known whether it was finite.
        with torch.no_grad():
            for buffer, value in zip(kind.written, before, strict=True):
                buffer.copy_(torch.where(finite, buffer, value))
        return loss

    def _inputs(self, raw: Tensors, beta: float) -> tuple[Tensor, ...]:
        """Return ``(beta, step, *raw)``, or ``(beta, step, mask, *raw)`` with the rows filled up.

        The step is the very tensor in which the update counts.
        """
        step = self.optimizer.step
        raw = [tensor.contiguous() for tensor in raw]
        if beta != self._beta:
            self.beta.fill_(beta)
            self._beta = beta
        if self._masks_rows is None:
            self._masks_rows = self._look_at_pair(raw)
            self._trials.num_before += self._masks_rows
        if not self._masks_rows:
            return (self.beta, step, *raw)
        if len(raw[0]) == self.batch_size:
            return (self.beta, step, self._all_rows, *raw)
        mask, rows = filled_up(raw, self.batch_size)
        return (self.beta, step, mask, *rows)

    def _look_at_pair(self, raw: Tensors) -> bool:
        """Prepare the objective, and return whether batches are filled up.

        They are when shorter ones will come, and what is masked out changes nothing.
        """
        few = self._trials.shorten(raw, FEW_FRAMES)
        at_least_two = [torch.cat([t, t]) if len(t) == 1 else t.clone() for t in few]
        if not self.is_prepared:
            with untouched(self.pair, self.device):
                self.objective.prepare(self.pair, self.prepare(at_least_two))
            self.is_prepared = True
            self.whole = together(self.pair, networks_of(self.objective, self.pair))
        with untouched(self.whole, self.device):
            args = self.prepare(at_least_two)
            return bool(self.batch_size) and ignores_padding(self.objective, self.pair, args)

    def _function(self, *, masked: bool) -> Function:
        return loss_and_gradients(
            self.pair,
            self.objective,
            self.optimizer.parameters,
            self.prepare,
            max_norm=self.max_norm,
            precision=self.precision,
            masked=masked,
            num_data=self.num_data,
        )

    def _kind(self, inputs: tuple[Tensor, ...]) -> BatchKind:
        """Return how inputs like these are evaluated, after what is due: check, compile."""
        key = kind_of(self.pair, inputs)
        kind = self._kinds.get(key)
        if kind is None:
            function = self._function(masked=bool(self._masks_rows))
            kind = self._kinds[key] = BatchKind(eager=function, run=function)
            self._make(kind, inputs)
            return kind
        # Of long recurrences, too, whose batches run eagerly but for their plan.
        if self.num_calls % CONSIDERED_EVERY == 0 and self._compiling_steps_repays():
            self.compile_steps()
        if kind.captured is not None:
            if self.num_calls >= self._next_check:
                # Of whatever kind is at hand: one that is rare would never come to its own turn.
                self._next_check = self.num_calls + CHECKED_EVERY
                self._check_against_eager(kind, inputs)
            if kind.num_calls % CONSIDERED_EVERY == 0 and self._compiling_repays(kind):
                self._compile(kind, inputs)
        return kind

    def _make(self, kind: BatchKind, inputs: Tensors) -> None:
        """Take a new kind as far as it goes: eager, captured, compiled."""
        trial = self._trials.of(kind, self.whole, inputs)
        kind.written = trial.written
        if self.engine == "eager" or not self._capturing_repays(trial, inputs):
            return
        if len(self._kinds) > MOST_KINDS:
            self.notify("shapes", f"batches of more than {MOST_KINDS} shapes; others run eagerly")
            return
        try:
            self._capture(kind, inputs, is_known=trial.is_captured)
        except NotCapturedError as error:
            self._fall_back(str(error))
            return
        if not trial.is_captured:
            self._check_against_eager(kind, inputs)
            trial.is_captured = kind.captured is not None
        if self.engine == "compiled":
            self._compile(kind, inputs)
        self._record(kind, inputs)  # last: what is recorded stays as it is

    def _capture(self, kind: BatchKind, inputs: Tensors, *, is_known: bool) -> None:
        key = kind_of(self.pair, inputs)
        kind.captured = self.graphs.captured(key, kind.eager, self.whole, inputs, is_known=is_known)
        for line in kind.captured.unowned:
            self.notify(f"unowned:{line}", f"{_UNOWNED}: {line}")
        kind.run, kind.tier = kind.captured, "graph"

    def _capturing_repays(self, trial: Trial, inputs: Tensors) -> bool:
        """Whether steps are many, and their graph is neither long nor of few calls of its own."""
        if self.engine != "auto":
            return True
        if self.num_steps < FEWEST_STEPS_CAPTURED:
            return False
        recurrence = self._recurrence
        if recurrence and not recurrence.failed and self._trials.are_long(inputs):
            return False
        is_written_out = recurrence is not None and recurrence.failed
        reason = self._trials.too_many_sites(trial, inputs, is_written_out=is_written_out)
        if reason:
            self._fall_back(reason)
        return not reason

    def _check_against_eager(self, kind: BatchKind, inputs: Tensors) -> None:
        """Fall back when an evaluation differs from the eager one under the same noise."""
        error = self._difference(kind, kind.run, kind.tier, inputs)
        if error:
            self._fall_back(
                f"the captured step differs from the eager one by {error:.1g}, because it depends "
                f"on something that is no argument: {line_of(class_of(self.pair))}"
            )

    def _difference(self, kind: BatchKind, run: Function, tier: str, inputs: Tensors) -> float:
        return difference_from_eager(
            kind, run, tier, self.whole, inputs, precision=self.precision, seed=self.num_calls
        )

    def _fall_back(self, reason: str) -> None:
        """Run everything eagerly from now on."""
        self.notify("engine", f"training runs eagerly, because {reason}")
        self.engine, self.may_compile = "eager", False
        for kind in self._kinds.values():
            kind.fall_back()

    def _compiling_repays(self, kind: BatchKind) -> bool:
        """Whether the steps that batches of a kind still have to take repay compiling them."""
        if not (self.may_compile and kind.captured and kind.tier == "graph"):
            return False
        share = kind.num_calls / sum(other.num_calls for other in self._kinds.values())
        return compiling_repays(kind, share * (self.num_steps - self.num_calls))

    def _compiling_steps_repays(self) -> bool:
        if self._recurrence is None or not self.may_compile:
            return False
        return self._recurrence.compiling_repays(self.num_steps / self.num_calls - 1)

    def _compile(self, kind: BatchKind, inputs: Tensors) -> None:
        self.compile_steps()
        if not (self.may_compile and kind.captured):
            return
        try:
            compiled = compile_graph(kind.captured, inputs)
            difference = self._difference(kind, compiled, "compiled", inputs)
            if difference:
                raise NotCompiledError(f"it would differ from the eager step by {difference:.1g}")
        except Exception as error:  # whatever Inductor, or what it wrote, does
            reason = str(error) if isinstance(error, NotCompiledError) else one_line(error)
            self.may_compile = False
            self.notify("compiler", f"training is not compiled: {reason}")
            return
        kind.run, kind.tier = compiled, "compiled"
        kind.times.clear()
        self._record(kind, inputs)

    def _record(self, kind: BatchKind, inputs: Tensors) -> None:
        """Make evaluation and update of a captured step one CUDA graph."""
        if self.merge or kind.captured is None or not is_recordable(self.device):
            return
        state = [*self.optimizer.state_dict().values(), self.optimizer.failed]
        state += kind.captured.owned
        # A mask of its own: that of a batch that is filled up is copied there.
        own = [value.clone() if value is self._all_rows else value for value in inputs]
        kind.recorded = record(partial(self._step, kind), own, state, self._pool, self.notify)
