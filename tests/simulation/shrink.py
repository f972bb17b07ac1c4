"""The shortest story that still breaks the same promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.plan import Plan, Step
from tests.simulation.world import Outcome

Run = Callable[[Plan], Outcome]


class Shrinker:
    """Leaves out what a violation does not need.

    Args:
        run: Runs a plan.
        lines: Lines of the oracle of which one must still be broken.
        seconds: CPU time after which the shortest story so far is the answer.
    """

    def __init__(self, run: Run, lines: set[str], seconds: float) -> None:
        self.runs = 0
        self._run = run
        self._lines = lines
        self._until = time.process_time() + seconds

    def shrink(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the shortest plan that was found.

        Args:
            outcome: The first one.
        """
        best = outcome
        while True:
            before = _size(best.plan)
            for shorten in (self._shorten_end, self._drop_steps, self._drop_changes, self._calm):
                best = shorten(best)
            if _size(best.plan) == before or self._is_late:
                return best

    @property
    def _is_late(self) -> bool:
        return time.process_time() > self._until

    def _try(self, best: Outcome, plan: Plan) -> Outcome | None:
        """Return the outcome of a plan, where it breaks the same promise."""
        if self._is_late or plan == best.plan:
            return None
        self.runs += 1
        outcome = self._run(plan)
        return outcome if outcome.lines & self._lines else None

    def _shorten_end(self, best: Outcome) -> Outcome:
        """Leave out what comes after the violation, and the quiet time behind the last step."""
        found_at = min(each.at for each in best.violations if each.line in self._lines)
        steps = [step for step in best.plan.steps if step.at <= found_at]
        last = max((step.at for step in steps), default=0.0)
        plan = replace(best.plan, steps=tuple(steps), seconds=min(best.plan.seconds, last + 1))
        return self._try(best, plan) or best

    def _drop_steps(self, best: Outcome) -> Outcome:
        """Leave out half of the steps, a quarter, and so on, down to single ones."""
        size = max(len(best.plan.steps) // 2, 1)
        while not self._is_late:
            place = 0
            while place < len(best.plan.steps):
                steps = list(best.plan.steps)
                del steps[place : place + size]
                shorter = self._try(best, best.plan.with_steps(steps))
                best = shorter or best
                place += 0 if shorter else size
            if size == 1:
                break
            size //= 2
        return best

    def _drop_changes(self, best: Outcome) -> Outcome:
        """Leave out changes of transactions with several."""
        for place in range(len(best.plan.steps)):
            number = 0
            while number < len(_changes(best.plan.steps[place])) > 1:
                step = best.plan.steps[place]
                changes = _changes(step)
                kept = [*changes[:number], *changes[number + 1 :]]
                steps = list(best.plan.steps)
                steps[place] = replace(step, values={**step.values, "changes": kept})
                shorter = self._try(best, best.plan.with_steps(steps))
                best = shorter or best
                number += 0 if shorter else 1
        return best

    def _calm(self, best: Outcome) -> Outcome:
        """Make the settings ordinary, one by one."""
        for name, value in _ORDINARY.items():
            if best.plan.settings.get(name) != value:
                plan = replace(best.plan, settings={**best.plan.settings, name: value})
                best = self._try(best, plan) or best
        return best


_ORDINARY: dict[str, Any] = {
    "listeners": 1,
    "aheads": [0.0, 0.0],
    "rates": [1.0, 1.0],
    "directus_ahead": 0.0,
    "has_cache": False,
    "has_socket": False,
    "poll_interval": 1.0,
}


def _changes(step: Step) -> Sequence[Any]:
    return step.values["changes"] if step.is_change else ()


def _size(plan: Plan) -> tuple[int, int]:
    return len(plan.steps), plan.changes


def story(outcome: Outcome) -> Iterator[str]:
    """Return the lines that a person reads of a violation."""
    plan = outcome.plan
    yield f"{plan.changes} changes, {plan.faults} faults, {len(plan.steps)} steps:"
    settings = ", ".join(f"{name} {value}" for name, value in plan.settings.items())
    yield f"    {settings}"
    yield from (f"  {step}" for step in plan.steps)
    yield "What happened:"
    yield from outcome.trace.text().splitlines()[-200:]
    yield "Broken promises:"
    yield from (f"    {violation}" for violation in outcome.violations)
