"""The errors a user can cause, each with a text that says value, limit and remedy; and warnings."""


class DmftnetError(ValueError):
    """Base of every error that bad input can raise; scripts print one line and exit with 2."""


class InvalidProblemError(DmftnetError):
    """An impurity problem, grid or spectrum that is unphysical or malformed."""


class NotFiniteError(InvalidProblemError):
    """A curve with a value that is no number."""


class SettingError(InvalidProblemError):
    """An argument of a class, or a key of a config, of the wrong type or out of its limits."""


class SpaceTooLargeError(DmftnetError):
    """A calculation whose estimated memory exceeds the limit; nothing was allocated."""


class StoreError(DmftnetError):
    """A dataset, solution or checkpoint file that cannot be used as it is."""


class ConvergenceError(DmftnetError):
    """A numerical procedure inside one solve that did not reach its tolerance."""


class DmftnetWarning(UserWarning):
    """An answer that was given but should be read with care; the text says why, with figures."""
