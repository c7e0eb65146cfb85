"""Models of an earlier report that stay in the tables of the next: an ablation grows run by run.

Only a report on the same data and loops can be joined. What is kept is marked with the commit that
measured it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError

SAME = ("dataset", "reference loops", "test loops")
"""Entries of a report's provenance that must agree."""


@dataclass(frozen=True)
class Kept:
    """Which models stay.

    Parameters
    ----------
    file : path
        ``results.json`` of the earlier report.
    without : sequence of str
        Patterns of labels that do not.
    """

    file: str | Path
    without: Sequence[str] = ()

    def __post_init__(self):
        texts = self.without
        if not (isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)):
            raise SettingError(
                f"kept_without = {checks.shown(texts)}: give a list of patterns of labels"
            )

    def models(self, origin: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Metrics by label, with ``commit``.

        Parameters
        ----------
        origin : mapping
            The new report's provenance.

        Raises
        ------
        DmftnetError
            If the file cannot be read, is not one of this version, or was measured on other data.
        """
        try:
            numbers = json.loads(Path(self.file).read_text(encoding="utf-8"))
            models, earlier = numbers["models"], numbers["provenance"]
            known = {
                label: {"commit": earlier["commit"][:9], **entry}
                for label, entry in models.items()
                if entry["resolution"] and entry["variant"]
            }
        except OSError as error:
            raise DmftnetError(
                f"kept = '{self.file}' cannot be read ({error.strerror}); give the "
                "results.json of an earlier report, or leave kept null"
            ) from None
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DmftnetError(
                f"kept = '{self.file}' is not what this version writes ({error!r}); evaluate "
                "all models anew, with kept null"
            ) from None
        for key in SAME:
            if earlier.get(key) != origin.get(key):
                raise DmftnetError(
                    f"kept = '{self.file}' was measured with {key} {earlier.get(key)}, this "
                    f"report with {origin.get(key)}; evaluate all models anew, with kept null"
                )
        return {
            label: entry
            for label, entry in known.items()
            if not any(fnmatchcase(label, pattern) for pattern in self.without)
        }
