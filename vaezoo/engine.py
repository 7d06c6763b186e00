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
    3. A captured step is compared with the eager one when it is made and every 1,000 steps. What
       cannot be captured, or differs, runs eagerly, and one line says why.
    4. A step that is not finite changes nothing, in any tier.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn

from vaezoo.capture import Captured, Function, NotCapturedError, capture, untouched
from vaezoo.compiler import NotCompiledError, compile_graph, expected_seconds
from vaezoo.cudagraph import CudaGraph
from vaezoo.errors import RunError
from vaezoo.gradients import Prepare, describe_failure, filled_up, loss_and_gradients
from vaezoo.lines import line_of
from vaezoo.objectives import Objective, ignores_padding
from vaezoo.optimizers import Optimizer
from vaezoo.precision import Precision
from vaezoo.sites import sample_sites, trace_pair

__all__ = ["Engine", "EngineName", "NonFiniteError"]

EngineName = Literal["auto", "eager", "graph", "compiled"]

CHECKED_EVERY = 1_000
CONSIDERED_EVERY = 256
MOST_KINDS = 64
FEWEST_STEPS_CAPTURED = 500
MOST_SITES_CAPTURED = 64
TOLERANCE = {("graph", "float32"): 1e-5, ("compiled", "float32"): 1e-4}
TOLERANCE_IN_BF16 = 0.05
SECONDS_SAVED_PER_NODE = 3e-6
_UNOWNED = "a tensor that belongs to no module is used, and is not saved; register it as a buffer"


class NonFiniteError(RunError):
    """The loss or a gradient is NaN or infinite. The parameters are those before the step."""


@dataclass
class Kind:
    """How inputs of one kind (shapes, dtypes, mode) are evaluated, and what that takes.

    ``run`` is the evaluation of ``tier``; the times of the last calls are in seconds.
    """

    eager: Function
    run: Function
    tier: str = "eager"
    captured: Captured | None = None
    recorded: CudaGraph | None = None
    num_calls: int = 0
    eager_seconds: float = 0.0
    graph_seconds: float = 0.0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=CONSIDERED_EVERY // 4))


class Engine:
    """Takes steps.

    Parameters
    ----------
    pair
        The pair to train.
    objective
        Gives the loss, in nats per datum (per frame for sequences).
    optimizer
        Over the parameters of the pair.
    clip_norm
        Largest norm of the gradient; 0 for no clipping.
    engine
        The tier; ``auto`` takes the graph from 500 planned steps on, and compiles it when that
        repays.
    precision
        Of the products inside networks; log-densities are in float32.
    prepare
        From rows as they are stored to the arguments of model and guide, as a part of the step.
    batch_size
        With one, shorter batches are filled up to it with rows that a mask leaves out, so that all
        are of one kind; not where the rows of a batch depend on each other, as in batch norm.
    num_steps
        How many steps are planned.
    notify
        Is told in one line what is not done as asked: kind of the notice, and the line.
    """

    def __init__(
        self,
        pair: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        *,
        clip_norm: float = 0.0,
        engine: EngineName = "auto",
        precision: Precision = "float32",
        prepare: Prepare = tuple,
        batch_size: int = 0,
        num_steps: int = 0,
        notify: Callable[[str, str], None] = lambda kind, line: None,
    ) -> None:
        self.pair = pair
        self.objective = objective
        self.optimizer = optimizer
        self.max_norm = clip_norm or float("inf")
        self.engine = engine
        self.precision: Precision = precision
        self.prepare = prepare
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.notify = notify
        self.num_calls = 0
        self.device = optimizer.parameters[0].device
        self.beta = torch.ones((), device=self.device)
        self._beta = 1.0
        self._last: Sequence[Tensor] = ()
        self._kinds: dict[object, Kind] = {}
        self._masks_rows: bool | None = None
        self._all_rows = torch.ones(batch_size, dtype=torch.bool, device=self.device)
        self._may_compile = engine in ("auto", "compiled")

    def __call__(self, raw: Sequence[Tensor], beta: float = 1.0) -> Tensor:
        """Take one step on a batch and return its loss, a scalar on the device.

        Raises
        ------
        NonFiniteError
            On the CPU, when loss or gradients are not finite. Elsewhere :meth:`check` says so, and
            no step changes anything until then.
        """
        self._last = raw
        inputs = self._inputs(raw, beta)
        kind = self._kind(inputs)
        loss = kind.recorded(inputs) if kind.recorded else self._step(kind, inputs)
        kind.num_calls += 1
        self.num_calls += 1
        if self.device.type == "cpu":
            self.check()
        return loss

    def check(self) -> None:
        """Raise :class:`NonFiniteError` when a step was not finite."""
        if bool(self.optimizer.failed):
            raise NonFiniteError(describe_failure(self.pair, self.prepare(self._last)))

    def evaluate(self, raw: Sequence[Tensor], beta: float = 1.0) -> tuple[Tensor, list[Tensor]]:
        """Return the eager loss of a batch and its gradients; take no step."""
        kl_weight = torch.full_like(self.beta, beta)
        loss, _, _, *gradients = self._function(masked=False)((kl_weight, *raw))
        return loss, gradients

    @property
    def calls_by_tier(self) -> dict[str, int]:
        """Number of steps by the tier on which batches of their kind run now."""
        counts: dict[str, int] = {}
        for kind in self._kinds.values():
            counts[kind.tier] = counts.get(kind.tier, 0) + kind.num_calls
        return counts

    def _step(self, kind: Kind, inputs: Sequence[Tensor]) -> Tensor:
        began = time.perf_counter()
        loss, divisor, finite, *gradients = kind.run(inputs)
        kind.times.append(time.perf_counter() - began)
        self.optimizer.update(gradients, divisor, finite)
        return loss

    def _inputs(self, raw: Sequence[Tensor], beta: float) -> tuple[Tensor, ...]:
        """Return ``(beta, *raw)``, or ``(beta, mask, *raw)`` with the rows filled up."""
        if beta != self._beta:
            self.beta.fill_(beta)
            self._beta = beta
        if self._masks_rows is None:
            self._masks_rows = bool(self.batch_size) and self._rows_are_independent(raw)
        if not self._masks_rows:
            return (self.beta, *raw)
        if len(raw[0]) == self.batch_size:
            return (self.beta, self._all_rows, *raw)
        mask, filled = filled_up(raw, self.batch_size)
        return (self.beta, mask, *filled)

    def _rows_are_independent(self, raw: Sequence[Tensor]) -> bool:
        with untouched(self.pair, self.device):
            args = self.prepare(raw)
            return len(args[0]) > 1 and ignores_padding(self.objective, self.pair, args)

    def _function(self, *, masked: bool) -> Function:
        return loss_and_gradients(
            self.pair,
            self.objective,
            self.optimizer.parameters,
            self.prepare,
            max_norm=self.max_norm,
            precision=self.precision,
            masked=masked,
        )

    def _kind(self, inputs: tuple[Tensor, ...]) -> Kind:
        """Return how inputs like these are evaluated, after what is due: check, compile."""
        key = (self.pair.training, *[(tensor.shape, tensor.dtype) for tensor in inputs])
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._new_kind(inputs)
        elif kind.captured is not None and kind.num_calls:
            if kind.num_calls % CHECKED_EVERY == 0:
                self._check_against_eager(kind, inputs)
            if kind.num_calls % CONSIDERED_EVERY == 0 and self._compiling_repays(kind):
                self._compile(kind, inputs)
        return kind

    def _new_kind(self, inputs: tuple[Tensor, ...]) -> Kind:
        function = self._function(masked=bool(self._masks_rows))
        kind = Kind(eager=function, run=function)
        if self.engine == "eager" or not self._capturing_repays(inputs):
            return kind
        if len(self._kinds) >= MOST_KINDS:
            self.notify("shapes", f"batches of more than {MOST_KINDS} shapes; others run eagerly")
            return kind
        try:
            kind.captured = capture(function, self.pair, inputs)
        except NotCapturedError as error:
            self._fall_back(str(error))
            return kind
        for line in kind.captured.unowned:
            self.notify(f"unowned:{line}", f"{_UNOWNED}: {line}")
        kind.run, kind.tier = kind.captured, "graph"
        self._check_against_eager(kind, inputs)
        if self.engine == "compiled":
            self._compile(kind, inputs)
        self._record(kind, inputs)
        return kind

    def _capturing_repays(self, inputs: Sequence[Tensor]) -> bool:
        """Whether steps are many, and their graph is not that of a recurrence written out.

        Nothing that differs between a run and its resumption decides, so that both round alike.
        """
        if self.engine != "auto":
            return True
        if self.num_steps < FEWEST_STEPS_CAPTURED:
            return False
        with untouched(self.pair, self.device), torch.no_grad():
            _, *raw = inputs
            trace = trace_pair(self.pair, self.prepare(raw[1:] if self._masks_rows else raw))
        num_sites = len(sample_sites(trace.model))
        if num_sites > MOST_SITES_CAPTURED:
            self._fall_back(
                f"a graph of {num_sites} sites takes too long to capture (--engine graph does it): "
                f"{line_of(type(self.pair))}"
            )
        return num_sites <= MOST_SITES_CAPTURED

    def _check_against_eager(self, kind: Kind, inputs: Sequence[Tensor]) -> None:
        """Fall back when an evaluation differs from the eager one under the same noise."""
        expected, seconds = self._outcome(kind.eager, inputs)
        found, _ = self._outcome(kind.run, inputs)
        kind.eager_seconds = min(seconds, kind.eager_seconds or seconds)
        limit = TOLERANCE.get((kind.tier, self.precision), TOLERANCE_IN_BF16)
        error = _largest_error(found, expected)
        if error > limit:
            self._fall_back(
                f"the captured step differs from the eager one by {error:.1g}, because it depends "
                f"on something that is no argument: {line_of(type(self.pair))}"
            )

    def _outcome(self, run: Function, inputs: Sequence[Tensor]) -> tuple[list[Tensor], float]:
        """Return loss, gradients and buffers of a trial, and its seconds; nothing is changed."""
        with untouched(self.pair, self.device):
            torch.manual_seed(self.num_calls)
            began = time.perf_counter()
            loss, _, _, *gradients = run(inputs)
            seconds = time.perf_counter() - began
            buffers = [buffer.clone() for buffer in self.pair.buffers()]
        return [loss, *gradients, *buffers], seconds

    def _fall_back(self, reason: str) -> None:
        """Run everything eagerly from now on."""
        self.notify("engine", f"training runs eagerly, because {reason}")
        self.engine, self._may_compile = "eager", False
        for kind in self._kinds.values():
            kind.run, kind.tier, kind.captured, kind.recorded = kind.eager, "eager", None, None

    def _compiling_repays(self, kind: Kind) -> bool:
        """Whether compiling costs less than the graph has saved, and half of what it will save.

        By the first condition a run never takes longer than an eager one, even if it stops early.
        """
        if not (self._may_compile and kind.captured and kind.tier == "graph"):
            return False
        cost = expected_seconds(kind.captured.graph)
        left = (self.num_steps - self.num_calls) * kind.num_calls / self.num_calls
        num_nodes = len(kind.captured.graph.graph.nodes)
        saved = kind.num_calls * (kind.eager_seconds - (median(kind.times) if kind.times else 0.0))
        return saved > cost and left * num_nodes * SECONDS_SAVED_PER_NODE > 2 * cost

    def _compile(self, kind: Kind, inputs: Sequence[Tensor]) -> None:
        if not (self._may_compile and kind.captured):
            return
        try:
            compiled = compile_graph(kind.captured, inputs)
        except NotCompiledError as error:
            self._may_compile = False
            self.notify("compiler", f"training is not compiled: {error}")
            return
        kind.graph_seconds = median(kind.times) if kind.times else 0.0
        kind.run, kind.tier = compiled, "compiled"
        kind.times.clear()
        self._check_against_eager(kind, inputs)
        self._record(kind, inputs)

    def _record(self, kind: Kind, inputs: Sequence[Tensor]) -> None:
        """Make evaluation and update of a captured step one CUDA graph."""
        if self.device.type != "cuda" or kind.captured is None:
            return
        optimizer = self.optimizer
        state = [*kind.captured.owned, *optimizer.state_dict().values(), optimizer.failed]
        kind.recorded = CudaGraph(lambda given: self._step(kind, given), inputs, state)


def _largest_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference between two outcomes, relative to the size of each tensor."""
    pairs = [(a.double(), b.double()) for a, b in zip(found, expected, strict=True) if b.numel()]
    if not all(bool(torch.isfinite(b).all()) for _, b in pairs):
        return 0.0
    largest = max(float(b.abs().max()) for _, b in pairs)
    errors = [(a - b).abs().max() / (b.abs().max() + 1e-3 * largest) for a, b in pairs]
    return float(torch.stack(errors).nan_to_num(float("inf")).max())
