"""A network's body as an ONNX graph, written down while its own code runs.

`Recorder` watches the torch functions that an example passes through and notes for each the ONNX
operators that do the same. An architecture is thus described once, by its ``embed`` and
``project``; one that uses a function which no operator is known for is refused by name. The batch
is free: the example has as many samples as no other size of the network is a multiple of.

Inputs are the features of the frequency tokens and the parameters as numbers of order one, output
is the network's raw output; guesses, features and head stay outside: they are in double precision,
partly complex, and hold no weights. Everything in the graph is float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dmftnet.errors import DmftnetError
from dmftnet.models.networks.network import SpectralNetwork

OPSET = 20
"""Of ONNX: the first with Gelu."""

IR_VERSION = 9
"""Of the file format, the one of that opset."""

FEATURES, PARAMETERS, OUTPUT = "features", "parameters", "output"
"""(B, n_w, n_features), (B, n_params) and (M, B, n_outputs, n_w)."""

BATCHES = (7, 11, 13, 17, 19, 23, 29, 31, 37)
"""Numbers of samples that an example may have."""


class NotExportableError(DmftnetError):
    """A network that has no ONNX graph."""


def exported(networks: Sequence[SpectralNetwork]) -> bytes:
    """The ONNX file of networks of one kind of input, side by side.

    Parameters
    ----------
    networks : sequence of SpectralNetwork
        M of one grid, with the same features.

    Raises
    ------
    NotExportableError
        If one uses a torch function that no operator is known for.
    """
    from onnx import TensorProto, checker, helper

    first, batch = networks[0], _batch(networks)
    sizes = {FEATURES: (first.n_w, first.n_features), PARAMETERS: (first.n_params,)}
    recorder = Recorder(batch)
    example = [recorder.given(name, torch.zeros(batch, *size)) for name, size in sizes.items()]
    with torch.no_grad():
        rows = [recorder.record(_body(net), *example) for net in networks]
    recorder.node("Concat", [recorder.reshaped(row, (1, *row.shape)) for row in rows], OUTPUT)
    shapes = sizes | {OUTPUT: (first.n_outputs, first.n_w)}
    about = {
        name: helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [*([len(networks)] if name == OUTPUT else []), "B", *shape]
        )
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        recorder.nodes,
        type(first).__name__,
        [about[FEATURES], about[PARAMETERS]],
        [about[OUTPUT]],
        recorder.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name="dmftnet"
    )
    checker.check_model(model)
    return model.SerializeToString()


def _batch(networks: Sequence[nn.Module]) -> int:
    """A number of samples that divides no size of the networks."""
    sizes = {n for net in networks for p in net.state_dict().values() for n in p.shape}
    sizes |= {n for net in networks for n in (net.n_w, net.n_w // 2, net.n_features)}
    return next(n for n in BATCHES if all(size % n for size in sizes))


class _Given(nn.Module):
    """What has been computed before, whatever is asked."""

    def forward(self, x):
        return x


def _body(net: SpectralNetwork) -> Callable[..., torch.Tensor]:
    """The network as a function of features and parameters in its own units."""
    body = copy.copy(net).eval()
    body._modules = {**net._modules, "parameter_input": _Given()}
    vars(body)["tokens"] = lambda features, guesses: features
    return lambda features, parameters: body.project(body.embed(features, parameters))


class Recorder(TorchFunctionMode):
    """ONNX nodes of the torch functions that `record` runs through.

    Parameters
    ----------
    batch : int
        Samples of the example; an axis of a multiple of that length is one of the batch.
    """

    def __init__(self, batch: int):
        super().__init__()
        self.batch = batch
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # what is named must live, or its number is given again

    def given(self, name: str, example: torch.Tensor) -> torch.Tensor:
        """An input of the graph."""
        return self._named(example, name)

    def record(self, function: Callable[..., torch.Tensor], *arguments) -> torch.Tensor:
        """The example's result of a function, which has a name in the graph."""
        with self:
            return function(*arguments)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = getattr(function, "__name__", str(function)).strip("_")
        if name == "get":  # of a property
            name = function.__self__.__name__
        traced = any(id(a) in self._names for a in _tensors((args, kwargs)))
        if not (traced or name == "expand") or not list(_tensors(result)):
            return result
        if name not in OPERATORS:
            raise NotExportableError(
                f"the torch function {name} has no ONNX operator here "
                "(dmftnet.models.networks.onnx_graph); set solver.backend=torch"
            )
        for value, told in zip(
            _tensors(result), _sequence(OPERATORS[name](self, result, *args, **kwargs)), strict=True
        ):
            self._named(value, told)
        return result

    def node(self, operator: str, inputs: Sequence[Any], *outputs: str, n=1, **attributes):
        """Names of what an operator gives; inputs are tensors, names or numbers."""
        from onnx import helper

        names = outputs or tuple(f"v{len(self.nodes)}_{i}" for i in range(n))
        if operator == "Concat":
            attributes = {"axis": 0, **attributes}
        inputs = [self.name(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names if len(names) > 1 else names[0]

    def name(self, value: Any) -> str:
        """Of a tensor or of a constant."""
        if isinstance(value, str):
            return value
        if id(value) not in self._names:
            array = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
            self._named(value, self.constant(array))
        return self._names[id(value)]

    def constant(self, values) -> str:
        """Numbers as float32, or int64 where they are integers."""
        from onnx import numpy_helper

        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        if array.ndim > 1 and any(size % self.batch == 0 for size in array.shape):
            raise NotExportableError(
                f"a constant of shape {array.shape} depends on the number of samples; set "
                "solver.backend=torch"
            )
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def reshaped(self, value, shape: Sequence[int]) -> str:
        """With the example's shape; that of the batch is free."""
        sizes = [-1 if size % self.batch == 0 else size for size in shape]
        return self.node("Reshape", [value, self.constant(np.array(sizes, dtype=np.int64))])

    def expanded(self, value, shape: Sequence[int]) -> str:
        size = self.node("Shape", [PARAMETERS], start=0, end=1)
        parts = [size if n == self.batch else self.constant(np.array([n])) for n in shape]
        return self.node("Expand", [value, self.node("Concat", parts)])

    def _named(self, value, name: str):
        self._names[id(value)] = name
        self._kept.append(value)
        return value


def _tensors(values) -> list[torch.Tensor]:
    """All in nested sequences."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [t for v in values for t in _tensors(v)] if isinstance(values, list | tuple) else []


def _sequence(names) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _swap(shape, a: int, b: int) -> list[int]:
    axes = list(range(len(shape)))
    axes[a], axes[b] = axes[b], axes[a]
    return axes


def _linear(g, result, x, weight, bias=None):
    y = g.node("MatMul", [x, g.constant(weight.detach().T.numpy())])
    return y if bias is None else g.node("Add", [y, bias])


def _layer_norm(g, result, x, shape, weight=None, bias=None, eps=1e-5):
    scale = np.ones(shape) if weight is None else weight.detach().numpy()
    inputs = [x, g.constant(scale)] + ([] if bias is None else [bias])
    return g.node("LayerNormalization", inputs, axis=-1, epsilon=eps)


def _attention(g, result, q, k, v):
    scaled = g.node("Mul", [q, g.constant(q.shape[-1] ** -0.5)])
    mirrored = g.node("Transpose", [k], perm=_swap(k.shape, -1, -2))
    scores = g.node("Softmax", [g.node("MatMul", [scaled, mirrored])], axis=-1)
    return g.node("MatMul", [scores, v])


def _chunk(g, result, x, chunks, dim=0):
    sizes = g.constant(np.array([part.shape[dim] for part in result]))
    return g.node("Split", [x, sizes], n=len(result), axis=dim)


def _unbind(g, result, x, dim=0):
    return [g.node("Gather", [x, g.constant(np.array(i))], axis=dim) for i in range(len(result))]


def _flip(g, result, x, *dims):
    dims = dims[0] if isinstance(dims[0], list | tuple) else dims
    ones = np.ones(len(dims), dtype=np.int64)
    ends = (-ones, np.full(len(dims), np.iinfo(np.int64).min), np.array(dims), -ones)
    return g.node("Slice", [x, *(g.constant(values) for values in ends)])


def _movedim(g, result, x, source, destination):
    axes = [i for i in range(x.ndim) if i != source % x.ndim]
    axes.insert(destination % x.ndim, source % x.ndim)
    return g.node("Transpose", [x], perm=axes)


def _reshape(g, result, x, *_, **__):
    return g.reshaped(x, result.shape)


def _elementwise(operator: str):
    def write(g, result, x, *others, **_):
        return g.node(operator, [x, *others[:1]])

    return write


def _unary(operator: str):
    return lambda g, result, x, **_: g.node(operator, [x])


OPERATORS: dict[str, Callable] = {
    "linear": _linear,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": _attention,
    "gelu": _unary("Gelu"),
    "cos": _unary("Cos"),
    "sin": _unary("Sin"),
    "softmax": lambda g, result, x, dim=-1, **_: g.node("Softmax", [x], axis=dim),
    "matmul": _elementwise("MatMul"),
    "add": _elementwise("Add"),
    "radd": _elementwise("Add"),
    "mul": _elementwise("Mul"),
    "rmul": _elementwise("Mul"),
    "addcmul": lambda g, result, a, b, c: g.node("Add", [a, g.node("Mul", [b, c])]),
    "dropout": lambda g, result, x, *_, **__: g.name(x),
    "cat": lambda g, result, parts, dim=0: g.node("Concat", list(parts), axis=dim),
    "chunk": _chunk,
    "unbind": _unbind,
    "flip": _flip,
    "movedim": _movedim,
    "transpose": lambda g, result, x, a, b: g.node("Transpose", [x], perm=_swap(x.shape, a, b)),
    "mT": lambda g, result, x: g.node("Transpose", [x], perm=_swap(x.shape, -1, -2)),
    "expand": lambda g, result, x, *_: g.expanded(x, result.shape),
    "flatten": _reshape,
    "unflatten": _reshape,
    "unsqueeze": _reshape,
}
"""What stands for a torch function: graph, the example's result and the arguments to its names."""
