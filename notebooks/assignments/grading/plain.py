"""What may pass between the student's process and the judge: plain data as JSON, never a pickle.

Numbers, words, None, lists, tuples, dictionaries and arrays; everything else is refused. Reading trusts nothing: sizes,
depth, types and shapes are checked. Standard library only, because it also runs inside the sandbox.
"""

import base64
import json
import math
import numbers
import sys
from decimal import Decimal

DEEPEST = 8
LONGEST = 20_000  # items in lists and letters in words, all together
MOST_VALUES = 500_000  # in arrays
MOST_DIGITS = 400
BYTES = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8}
BYTES |= {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

WHY = (  # all that a message may say, so that it cannot carry anything else
    *("it is too long", "it is nested too deeply", "too many digits", "too many values", "no torch.nn.Module"),
    *("not a number, a list or a tensor", "a set has no order", "its values are of a kind that is not used"),
)


class NotPlainError(ValueError):
    """A value that may not pass; the message says why."""


class Array:
    """An array as it came from the other process: shape, dtype and bytes."""

    def __init__(self, shape: tuple[int, ...], dtype: str, data: bytes):
        self.shape, self.dtype, self.data = shape, dtype, data

    def __repr__(self) -> str:
        return f"Array({self.shape}, {self.dtype}, {self.data[:16].hex()})"

    def tensor(self):
        """Return it as a torch tensor."""
        import torch

        kind = getattr(torch, self.dtype)
        if not self.data:
            return torch.empty(self.shape, dtype=kind)
        return torch.frombuffer(bytearray(self.data), dtype=kind).reshape(self.shape)


def dumps(value: object) -> str:
    """Return the value as one line of JSON. Raises NotPlainError for what may not pass."""
    return json.dumps(_packed(value, DEEPEST, [LONGEST]))


def loads(text: str | bytes) -> object:
    """Return the value; arrays become Array. Raises NotPlainError for anything that dumps did not write."""
    try:
        return _unpacked(json.loads(text), DEEPEST, [LONGEST])
    except (ValueError, RecursionError, TypeError) as error:
        raise NotPlainError(str(error)[:200]) from None


def _spend(budget: list[int], count: int) -> None:
    budget[0] -= count
    if budget[0] < 0:
        raise NotPlainError("it is too long")


def _packed(value: object, depth: int, budget: list[int]) -> object:
    kind = type(value)
    if depth < 0:
        raise NotPlainError("it is nested too deeply")
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        if value.bit_length() > MOST_DIGITS * 3:
            raise NotPlainError("a number has too many digits")
        return value
    if isinstance(value, str):
        _spend(budget, str.__len__(value))
        return str.__str__(value)
    if value is ...:
        return {"kind": "todo"}
    for base in (list, tuple):  # what a subclass makes of itself does not count
        if isinstance(value, base):
            _spend(budget, base.__len__(value) + 1)
            items = [_packed(item, depth - 1, budget) for item in base.__iter__(value)]
            return {"kind": base.__name__, "items": items}
    if isinstance(value, dict):
        _spend(budget, dict.__len__(value) + 1)
        pairs = [[_packed(key, 0, budget), _packed(item, depth - 1, budget)] for key, item in dict.items(value)]
        return {"kind": "dict", "items": pairs}
    if isinstance(value, numbers.Real | Decimal) and not type(value).__module__.startswith("numpy"):
        return _packed_number(value, depth, budget)
    return _packed_array(value, kind)


def _packed_number(value: numbers.Real | Decimal, depth: int, budget: list[int]) -> object:
    """Return a number of another class, a fraction or a decimal."""
    try:
        return _packed(int(value), depth, budget) if isinstance(value, numbers.Integral) else float(value)
    except (OverflowError, TypeError, ValueError):
        raise NotPlainError("too many digits") from None


def _packed_array(value: object, kind: type) -> object:
    """Tensors, numpy's arrays and numbers, and pandas' tables, by the classes that those libraries really have."""
    pandas = sys.modules.get("pandas")
    if pandas and kind in (pandas.Series, pandas.Index, pandas.DataFrame):
        value = value.to_numpy()
        kind = type(value)
    if kind is Array:
        shape, dtype, data = value.shape, value.dtype, value.data
    else:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch and kind in (torch.Tensor, torch.nn.Parameter):
            value = value.detach().cpu().contiguous()
            shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
            if math.prod(shape) > MOST_VALUES:
                raise NotPlainError("it has too many values")
            if dtype not in BYTES:
                raise NotPlainError("its values are of a kind that is not used")
            data = value.reshape(-1).view(torch.uint8).numpy().tobytes() if math.prod(shape) else b""
        elif numpy and (kind is numpy.ndarray or isinstance(value, numpy.generic)):
            if math.prod(value.shape) > MOST_VALUES:
                raise NotPlainError("it has too many values")
            shape, dtype, data = tuple(value.shape), str(value.dtype), value.tobytes()
        elif isinstance(value, set | frozenset):
            raise NotPlainError("a set has no order")
        else:
            raise NotPlainError("it is not a number, a list or a tensor")
    if dtype not in BYTES:
        raise NotPlainError("its values are of a kind that is not used")
    return {"kind": "array", "shape": list(shape), "dtype": dtype, "data": base64.b64encode(data).decode("ascii")}


def _unpacked(value: object, depth: int, budget: list[int]) -> object:
    if depth < -1:
        raise NotPlainError("it is nested too deeply")
    if isinstance(value, str):
        _spend(budget, len(value))
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, dict):
        raise NotPlainError("it is not in the agreed form")
    kind = value.get("kind")
    if kind == "todo":
        return ...
    if kind == "array":
        return _unpacked_array(value)
    items = value.get("items")
    if kind not in ("list", "tuple", "dict") or not isinstance(items, list):
        raise NotPlainError("it is not in the agreed form")
    _spend(budget, len(items) + 1)
    if kind == "dict":
        pairs = [(_unpacked(key, 0, budget), _unpacked(item, depth - 1, budget)) for key, item in items]
        if any(not isinstance(key, str | int | float) for key, _ in pairs):
            raise NotPlainError("a key is neither a word nor a number")
        return dict(pairs)
    found = [_unpacked(item, depth - 1, budget) for item in items]
    return tuple(found) if kind == "tuple" else found


def _unpacked_array(value: dict) -> Array:
    shape, dtype = value.get("shape"), value.get("dtype")
    if not isinstance(shape, list) or len(shape) > 8 or dtype not in BYTES:
        raise NotPlainError("an array has no proper shape")
    if any(type(side) is not int or not 0 <= side <= MOST_VALUES for side in shape):
        raise NotPlainError("an array has no proper shape")
    count = math.prod(shape)
    if count > MOST_VALUES:
        raise NotPlainError(f"an array has {count:,} values")
    data = base64.b64decode(value.get("data", ""), validate=True)
    if len(data) != count * BYTES[dtype]:
        raise NotPlainError("an array does not fill its shape")
    return Array(tuple(shape), dtype, data)
