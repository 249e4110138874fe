"""What a user can mend, as exceptions: argument, rule, value and the nearest right choice in one line.

RobustevalError
├── SpecError        an unknown name or parameter, or a spec that does not parse
├── InputError       a value outside its rule: images, labels, sizes, options
├── DataError        a data set that is missing, damaged or empty
├── CheckpointError  a checkpoint that is missing, damaged or does not fit
└── RecordError      a report folder that cannot be read, continued or written

Everything else that is raised is a bug and shows its traceback.
"""

import difflib
from collections.abc import Iterable


class RobustevalError(Exception):
    """Something the user can mend; the command line prints it in one line and exits with 2."""


class SpecError(RobustevalError):
    """An unknown component, an unknown parameter, or a spec that does not parse."""


class InputError(RobustevalError):
    """A value that breaks its argument's rule."""


class DataError(RobustevalError):
    """A data set that is missing, damaged or empty."""


class CheckpointError(RobustevalError):
    """A checkpoint that is missing, damaged, or does not fit its architecture."""


class RecordError(RobustevalError):
    """A report folder that cannot be read, continued or written."""


def nearest(value: str, choices: Iterable[str]) -> str:
    """The end of an error line: the choices most like `value`, else all of them.

    >>> nearest("gaussian-nose", ["fog", "gaussian-noise"])
    "did you mean 'gaussian-noise'?"
    >>> nearest("xyz", ["fog", "contrast"])
    'choose from contrast, fog'
    """
    known = sorted(choices)
    if not known:
        return "there is none to choose from"
    close = difflib.get_close_matches(value, known, n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "choose from " + ", ".join(known)


def require(condition: bool, argument: str, rule: str, value: object) -> None:
    """Raise `InputError` in the house's form unless `condition` holds.

    >>> require(False, "eps", "must be in [0, 1]; did you mean 8/255?", 8)
    Traceback (most recent call last):
    robusteval.core.errors.InputError: eps=8: must be in [0, 1]; did you mean 8/255?
    """
    if not condition:
        raise InputError(f"{argument}={value!r}: {rule}")
