"""What an array in a file or a batch is: its name, type, shape, unit and meaning.

An `ArrayKey` is the name itself, to be used wherever a name is, and knows the rest. The arrays of
data files and batches are registered in `dmftnet.data.keys`, those of solutions beside the code
that writes them; docs/arrays.md is the table of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dmftnet.errors import StoreError

KINDS = {
    "f": ("f", "numbers"),
    "i": ("iu", "integers"),
    "c": ("fc", "complexes"),
    "U": ("U", "text"),
}
"""By the kind of the type that is written: kinds that are read, and what to call them."""


class ArrayKey(str):
    """The name of an array.

    Parameters
    ----------
    name : str
        As in the file or batch.
    dtype : str
        numpy's name of the type that is written; "str" for text. What is read may be of another
        size.
    shape : tuple of int or str
        Axes that are no number are symbols; the same symbol is the same length.
    unit : str
        Empty where there is none.
    meaning : str
    limits : (low, high), optional
        Of integers, both inclusive.
    nan : bool
        Whether a number may be missing.
    optional : bool
        Whether a file may lack it.
    """

    __slots__ = ("dtype", "limits", "meaning", "nan", "optional", "shape", "unit")

    dtype: str
    limits: tuple[int, int] | None
    meaning: str
    nan: bool
    optional: bool
    shape: tuple[int | str, ...]
    unit: str

    def __new__(
        cls,
        name: str,
        dtype: str,
        shape: tuple[int | str, ...],
        unit: str,
        meaning: str,
        *,
        limits: tuple[int, int] | None = None,
        nan: bool = False,
        optional: bool = False,
    ) -> ArrayKey:
        key = super().__new__(cls, name)
        given = (dtype, limits, meaning, nan, optional, shape, unit)
        for slot, value in zip(cls.__slots__, given, strict=True):
            object.__setattr__(key, slot, value)
        return key

    def __setattr__(self, name: str, value) -> None:
        raise AttributeError(f"the array key {self} cannot be changed")

    def __reduce__(self):
        """A plain name: what crosses to another process is the array, not what it means."""
        return str, (str(self),)

    @property
    def short(self) -> str:
        """The name without its group."""
        return self.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """The kind of the type, a key of `KINDS`."""
        return np.dtype(self.dtype).kind

    def sized(self, sizes: Mapping[str, int]) -> tuple[int | str, ...]:
        """The shape with the symbols of known size as numbers."""
        return tuple(
            sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in self.shape
        )

    def objection(self, values: np.ndarray, sizes: Mapping[str, int], strict: bool = False) -> str:
        """What is wrong with the values; empty if nothing is.

        Parameters
        ----------
        sizes : mapping
            Known lengths of symbols.
        strict : bool
            Whether the type must be the very one that is written.
        """
        kinds, words = KINDS[self.kind]
        shape = self.sized(sizes)
        fits = values.ndim == len(shape) and all(
            isinstance(axis, str) or axis == length
            for axis, length in zip(shape, values.shape, strict=True)
        )
        typed = values.dtype.kind in kinds
        if strict and self.kind != "U":
            typed, words = values.dtype == np.dtype(self.dtype), self.dtype
        if not fits or not typed:
            return (
                f"holds {values.dtype} of shape {values.shape}; {words} of shape {shape} are needed"
            )
        if self.kind in "fc" and not self.nan and not np.isfinite(values).all():
            return "holds a value that is not finite"
        if self.limits is not None and values.size:
            low, high = self.limits
            if values.min() < low or values.max() > high:
                return f"holds {values.min()} to {values.max()}; {low} to {high} is known"
        return ""


def check_arrays(
    where: str,
    arrays: Mapping[str, np.ndarray],
    keys: Iterable[ArrayKey],
    sizes: Mapping[str, int],
    remedy: str,
    strict: bool = False,
) -> None:
    """Raise unless all arrays of the keys are there and as they should be.

    Parameters
    ----------
    where : str
        What the error begins with, for example ``file data.h5``.
    sizes : mapping
        Known lengths of symbols; the others follow from the arrays, which must agree.
    remedy : str
        What the error ends with.
    strict : bool
        Whether types must be the very ones that are written, as before writing.

    Raises
    ------
    StoreError
    """
    found: dict[str, tuple[int, str]] = {}
    for key in keys:
        if key not in arrays:
            if key.optional:
                continue
            raise StoreError(f"{where} lacks the column {key}; {remedy}")
        values = arrays[key]
        objection = key.objection(values, sizes, strict)
        if objection:
            raise StoreError(f"{where}: {key} {objection}; {remedy}")
        for axis, length in zip(key.sized(sizes), values.shape, strict=True):
            if isinstance(axis, str) and found.setdefault(axis, (length, key))[0] != length:
                other, first = found[axis]
                raise StoreError(
                    f"{where}: {key} has {axis} = {length}, but {first} {axis} = {other}; {remedy}"
                )


def table(keys: Iterable[ArrayKey]) -> str:
    """A Markdown table of arrays."""
    lines = ["| array | type | shape | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    for key in keys:
        shape = ", ".join(map(str, key.shape))
        shape = f"({shape},)" if len(key.shape) == 1 else f"({shape})"
        meaning = key.meaning + ("; may be missing" if key.optional else "")
        lines.append(f"| `{key}` | {key.dtype} | {shape} | {key.unit} | {meaning} |")
    return "\n".join(lines)
