"""Branches of a flow: steps side by side, where one that fails never stops another."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import prefect.runtime
from prefect import Flow, Task, get_run_logger
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed, State
from prefect.utilities.callables import get_call_parameters

from neural_classifiers.engine import runs

R = TypeVar("R")


class Branches:
    """The branches of one flow run: begun here, waited for here, their failures told by name.

    Examples
    --------
    >>> branches = Branches()
    >>> models = {name: branches.submit(fit, split, name=name) for name in ("linear", "keras")}
    >>> trained = branches.succeeded(models)  # of those that ended well
    >>> return branches.finish()  # Failed, naming what failed; else Completed
    """

    def __init__(self) -> None:
        self._begun: list[tuple[str, PrefectFuture[Any] | State]] = []

    def submit(self, step: Task[..., R], /, *args: Any, **kwargs: Any) -> PrefectFuture[R]:
        """Begin a step beside the others; its name is that of its task run in the UI."""
        name = step.name
        if isinstance(step.task_run_name, str):
            name = step.task_run_name.format(**get_call_parameters(step.fn, args, kwargs))
        future = step.submit(*args, **kwargs)
        self._begun.append((name, future))
        return future

    def run(self, flow: Flow[..., Any], /, *args: Any, **kwargs: Any) -> State[Any]:
        """Run a flow within this one to its end; its name is the flow's."""
        state = cast(State[Any], flow(*args, **kwargs, return_state=True))
        self._begun.append((flow.name, state))
        return state

    def wait(self) -> None:
        """Wait for every step begun so far."""
        wait([branch for _, branch in self._begun if not isinstance(branch, State)])

    def succeeded(self, futures: Mapping[str, PrefectFuture[R]]) -> dict[str, R]:
        """The results of those that end well, under the names given here."""
        wait(list(futures.values()))
        return {name: f.result() for name, f in futures.items() if f.state.is_completed()}

    def result(self, future: PrefectFuture[R]) -> R | None:
        """The result of one; None where it does not end well."""
        wait([future])
        return future.result() if future.state.is_completed() else None

    def failures(self) -> dict[str, str]:
        """Name and message of each that failed, without those that only waited for one of them."""
        self.wait()
        failed = {}
        for name, branch in self._begun:
            state = branch if isinstance(branch, State) else branch.state
            if not state.is_completed() and state.name != "NotReady":
                failed[name] = runs.why_of(state)
        return failed

    def finish(self, completed: str | None = None) -> State:
        """The flow's last state: Failed, naming what failed, or Completed.

        In a run with a folder the names of what failed are noted in its ``run.json``, and a flow
        that completed says by default how many steps were computed.
        """
        failed, folder = self.failures(), runs.current()
        if folder is not None:
            with runs.updating(folder) as run:
                run["failed"] = [*run["failed"], *failed]
            if prefect.runtime.flow_run.id == run["run_id"]:  # not one half of two
                completed = completed or runs.steps_in_words(run)
        why = "; ".join(f"{name}: {message}" for name, message in failed.items())
        message = why or completed or f"{len(self._begun)} branches"
        get_run_logger().info("%s", message)
        return Failed(message=message) if failed else Completed(message=message)
