"""The log of runs: an error that was expected stands in it once, without a traceback.

Prefect logs an error where it rises and again as the state of each task and flow around it. The
whole story of an error that nobody expected stays.
"""

import logging
from collections import deque

from neural_classifiers.errors import RefusedError

LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.flows")


class OnceFilter(logging.Filter):
    """Cuts an expected error down to its message, and away where it was logged before."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: deque[str] = deque(maxlen=20)
        self.states: deque[str] = deque(maxlen=20)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record, changed in place."""
        error = record.exc_info[1] if record.exc_info else None
        text = str(error) if isinstance(error, RefusedError) else record.getMessage()
        if text.startswith("Parameter validation failed for flow"):
            return False  # it has every parameter there is; the error that follows says which
        # Prefect shows a state's message as Python would write it
        is_known = any(each in text or repr(each)[1:-1] in text for each in self.logged)
        if isinstance(error, RefusedError):  # a task that is not tried again logs its state alone
            is_known = is_known or any(repr(text)[1:-1] in each for each in self.states)
            self.logged.append(text)
            record.msg, record.args, record.exc_info, record.exc_text = text, (), None, None
            return not is_known
        if is_known and text.startswith("Finished in state "):
            record.msg, record.args = text.partition("(")[0], ()
            return True
        if text.startswith("Finished in state "):
            self.states.append(text)
        return not is_known


_ONCE = OnceFilter()


def log_once() -> None:
    """Log expected errors of the run that begins here once, whatever a run before it logged."""
    _ONCE.logged.clear()
    _ONCE.states.clear()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_ONCE)
