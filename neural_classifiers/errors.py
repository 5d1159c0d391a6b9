"""The root of the errors that are nobody's fault but the request's."""


class RefusedError(Exception):
    """A request that cannot be met as it stands; the message says what to change.

    Commands print the message alone, without a traceback, and end with `status`.
    """

    status = 1
