"""Hydra's edge: configs in, plain Python and built objects out; errors as one line.

Used by the entry scripts alone. Nothing beyond this module sees a ``DictConfig``, and no other
module calls Hydra's ``instantiate`` (Hydra 1.4 wants a whitelist of targets at that one place).
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmftnet.errors import DmftnetError


def instantiate(node: Any, **overrides: Any) -> Any:
    """Build what a config node's ``_target_`` names, with plain dicts and lists as arguments.

    Parameters
    ----------
    node : DictConfig or dict
    overrides
        Arguments that are objects already (a datamodule, a solver), passed on top of the node's.

    Raises
    ------
    DmftnetError
        Whatever the target itself raises about its arguments, without Hydra's wrapping.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **overrides)
    except hydra.errors.InstantiationException as exc:
        if isinstance(exc.__cause__, DmftnetError):
            raise exc.__cause__ from None
        raise


def to_plain(config: Any) -> dict[str, Any]:
    """The resolved config as nested dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def entry_point(function: Callable) -> Callable:
    """Decorator of a script's main function, under ``@hydra.main``.

    A `DmftnetError`, or a mandatory value (``???``) that was not given, becomes one line
    ``error: ...`` on stderr and exit status 2; anything else is a defect and keeps its traceback.
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
        except DmftnetError as exc:
            sys.exit(_report(str(exc)))

    return wrapper


def run(main: Callable[[], None]) -> None:
    """Call a ``@hydra.main`` function; a config that does not compose is one line, exit status 2.

    Hydra's own report of an unknown group member or key takes several lines and names its search
    path; asked for the full error it raises instead, which is caught here.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except MissingConfigException as exc:
        if exc.missing_cfg_file is None:
            sys.exit(_report(" ".join(str(exc).split())))
        options = ", ".join(exc.options or []) or "none"
        sys.exit(_report(f"{exc.missing_cfg_file} is unknown; available: {options}"))
    except (HydraException, OmegaConfBaseException) as exc:
        if isinstance(exc, hydra.errors.InstantiationException):
            raise
        sys.exit(_report(" ".join(str(exc).split())))


def _report(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2
