"""Hydra's edge: configs in, plain Python and built objects out; errors as one line.

Used by the entry scripts alone. Nothing beyond this module sees a ``DictConfig``, and no other
module calls Hydra's ``instantiate`` (Hydra 1.4 wants a whitelist of targets at that one place).

The classes of this package check the values of their arguments themselves (`dmftnet.checks`); that
a section names a class, and only arguments which this class has, is checked here for all. What a
class of another library (an optimizer, the trainer, a logger) says of its arguments becomes one
line too; an exception out of this package that is no `DmftnetError` is a defect and stays one.
"""

from __future__ import annotations

import errno
import functools
import inspect
import io
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.moved import remedy

PACKAGE = "dmftnet"
HYDRAS_OWN = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}

SCALARS = (bool, int, float, str, type(None))
"""Types of which a config's value can be told apart."""

REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP,
}  # fmt: skip
"""What the operating system may refuse of a path that a user chose, whoever asks it."""


def instantiate(config: Any, key: str = "", kind: type = object, **overrides: Any) -> Any:
    """Build what a section's ``_target_`` names, with plain dicts and lists as arguments.

    Parameters
    ----------
    config : DictConfig or dict
    key : str
        Of the section in `config`; by default `config` is the section itself.
    kind : type
        A class or protocol that the result must be an instance of.
    overrides
        Arguments that are objects already (a datamodule, a solver), passed on top of the node's.

    Raises
    ------
    SettingError
        If the section names no class, or arguments that it does not have, or lacks some; if the
        class belongs to another library and refuses its arguments; if the result is no `kind`.
    DmftnetError
        Whatever the target itself raises about its arguments, without Hydra's wrapping.
    """
    node = OmegaConf.select(config, key) if key else config
    where = key or _place(node)
    plain = OmegaConf.to_container(node, resolve=True) if _is_config(node) else node
    if not (isinstance(plain, Mapping) and "_target_" in plain):
        raise SettingError(
            f"{where} = {checks.shown(plain)}: give a section with a class as _target_, and its "
            "arguments"
        )
    _check_targets(plain, where, overrides)
    try:
        result = hydra.utils.instantiate(node, _convert_="all", **overrides)
    except hydra.errors.InstantiationException as exc:
        cause = exc.__cause__
        if cause is not None and told(cause) is not None:
            raise cause from None
        culprit = _culprit(exc, plain["_target_"])
        if cause is not None and _is_foreign(culprit):
            raise SettingError(_refusal(where, culprit, cause)) from cause
        raise
    target, partial = plain["_target_"], plain.get("_partial_", False)
    if partial:
        return _Deferred(result, where, target) if _is_foreign(target) else result
    if not isinstance(result, kind):
        raise SettingError(
            f"{where}._target_ = '{target}' gives an object of the class {type(result).__name__}, "
            f"and one of the kind {kind.__name__} is needed; see conf/{where.split('.')[-1]}"
        )
    return result


def arguments(function: Callable, key: str, section: Any) -> dict[str, Any]:
    """A section that holds arguments of a known function or class, without ``_target_``.

    Raises
    ------
    SettingError
        If it holds anything else.
    """
    if not isinstance(section, Mapping):
        raise SettingError(f"{key} = {checks.shown(section)}: give a section of arguments")
    checks.names(function, key, section)
    return dict(section)


def _is_config(node: Any) -> bool:
    return isinstance(node, DictConfig | ListConfig)


def _place(node: Any) -> str:
    """Full key of a node in its config."""
    return (node._get_full_key(None) if _is_config(node) else "") or "the section"


def _check_targets(node: Any, where: str, overrides: Mapping[str, Any]) -> None:
    """Every ``_target_`` in a plain section exists and takes the arguments beside it."""
    if isinstance(node, list):
        for i, entry in enumerate(node):
            _check_targets(entry, f"{where}[{i}]", {})
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        function = _located(node["_target_"], where)
        given = {name: value for name, value in node.items() if name not in HYDRAS_OWN}
        complete = not node.get("_partial_") and "_args_" not in node
        checks.names(function, where, {**given, **overrides}, complete)
        if _is_foreign(node["_target_"]):
            _check_types(function, where, given)
    for name, value in node.items():
        _check_targets(value, f"{where}.{name}", {})


def _located(target: Any, where: str) -> Callable:
    try:
        found = hydra.utils.get_object(target) if isinstance(target, str) else None
    except (ImportError, AttributeError, ValueError):
        found = None
    if not callable(found):
        raise SettingError(
            f"{where}._target_ = {checks.shown(target)} is no class or function that can be "
            "imported; see conf for those that can"
        )
    return found


def _check_types(function: Callable, where: str, given: Mapping[str, Any]) -> None:
    """Plain values given to a class of another library are of the types that it declares."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (AttributeError, NameError, TypeError):  # what it declares cannot be read
        return
    for name, value in given.items():
        declared = _alternatives(hints.get(name, Any))
        scalars = {kind for kind in declared if kind in SCALARS}
        scalars |= {int} if float in scalars else set()
        others = any(kind not in SCALARS for kind in declared)
        if not scalars or type(value) in scalars or (others and isinstance(value, list | dict)):
            continue
        words = " or ".join(sorted(kind.__name__.removesuffix("Type") for kind in scalars))
        raise SettingError(
            f"{where}.{name} = {checks.shown(value)}: {function.__name__} takes {words}"
        )


def _alternatives(hint: Any) -> set[Any]:
    """The types of which an annotation allows one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set().union(*map(_alternatives, typing.get_args(hint)))
    if typing.get_origin(hint) is typing.Literal:
        return {type(value) for value in typing.get_args(hint)}
    return {hint}


def _is_foreign(target: str) -> bool:
    return target.split(".")[0] != PACKAGE


def _culprit(exc: Exception, otherwise: str) -> str:
    """The target, perhaps of a section inside, whose call failed: Hydra tells it in its text."""
    before, found, rest = str(exc).partition("Error in call to target '")
    return rest.partition("'")[0] if found and not before else otherwise


def _refusal(where: str, target: str, exc: BaseException) -> str:
    name = target.rpartition(".")[2]
    said = " ".join(str(exc).split())[:400] or type(exc).__name__
    return f"{where}: {name} refuses its arguments: {said}"


class _Deferred:
    """A class of another library with some arguments bound; see `instantiate`."""

    def __init__(self, partial: Callable, where: str, target: str):
        self._partial, self._where, self._target = partial, where, target

    def __call__(self, *args, **kwargs):
        with arguments_of(self._where, self._target):
            return self._partial(*args, **kwargs)


@contextmanager
def arguments_of(where: str, target: str) -> Iterator[None]:
    """Around the call in which a class of another library looks at a user's arguments at last.

    Parameters
    ----------
    where : str
        Key of its section.
    target : str
        Its name.

    Raises
    ------
    SettingError
        With what it says of them.
    """
    try:
        yield
    except Exception as exc:
        raise SettingError(_refusal(where, target, exc)) from exc


def to_plain(config: Any) -> dict[str, Any]:
    """The resolved config as nested dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def entry_point(function: Callable) -> Callable:
    """Decorator of a script's main function, under ``@hydra.main``.

    What is no defect (`told`), or a mandatory value (``???``) that was not given, becomes one line
    ``error: ...`` on stderr and exit status 2; anything else keeps its traceback. A run of W&B ends
    with the function.
    """

    @functools.wraps(function)
    def wrapper(config):
        for stream in (sys.stdout, sys.stderr):  # a locale without a table's lines is no error
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            missing = sorted(OmegaConf.missing_keys(config))
            if missing:
                raise DmftnetError(f"{missing[0]} has no default; give {missing[0]}=...")
            return function(config)
        except Exception as exc:
            if told(exc) is None:
                raise
            sys.exit(_report(told(exc)))
        finally:
            if "wandb" in sys.modules:
                sys.modules["wandb"].finish()  # else the next run in this process joins this one

    return wrapper


def run(main: Callable[[], None]) -> None:
    """Call a ``@hydra.main`` function; a config that does not compose is one line, exit status 2.

    Hydra's own report of an unknown group member or key takes several lines and names its search
    path; asked for the full error it raises instead, which is caught here.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except Exception as exc:
        if told(exc) is None:
            raise
        sys.exit(_report(told(exc)))


def told(exc: Exception) -> str | None:
    """What to say of an exception that is the user's to mend; None of a defect.

    Beside the project's errors and those of Hydra's configs these are two that no class can
    foresee: a path that the operating system refuses, and a machine with less memory than the
    limits allow.
    """
    if isinstance(exc, MissingConfigException) and exc.missing_cfg_file is not None:
        options = ", ".join(exc.options or []) or "none"
        return f"{exc.missing_cfg_file} is unknown; available: {options}"
    if isinstance(exc, ValueError) and str(exc).startswith("Config group override"):  # solver=1.5
        return f"{exc}; choose a member by its name, for example solver=ras"
    if isinstance(exc, hydra.errors.InstantiationException):
        return None
    if isinstance(exc, DmftnetError | HydraException | OmegaConfBaseException):
        return str(exc)
    if isinstance(exc, OSError) and exc.errno in REFUSALS:
        return f"'{exc.filename}': {exc.strerror}; choose another path"
    if _is_out_of_memory(exc):
        return (
            f"not enough memory on this machine ({exc}); take fewer bath sites, frequencies, "
            "samples or channels, or lower max_memory to be told before the work starts"
        )
    return None


def _is_out_of_memory(exc: Exception) -> bool:
    """numpy's and Python's error, and torch's, which is a `RuntimeError`."""
    said = str(exc)
    return isinstance(exc, MemoryError) or (
        isinstance(exc, RuntimeError) and ("allocate memory" in said or "out of memory" in said)
    )


def _report(text: str) -> int:
    text = remedy(text) or text
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 2
