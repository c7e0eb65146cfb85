"""What runs a network's body in use: torch, or ONNX Runtime, faster (docs/benchmarks.md).

The weights ship once, as safetensors. The ONNX graph is written on first use
(`dmftnet.models.networks.onnx_graph`) and kept in the user's cache, ``$XDG_CACHE_HOME/dmftnet`` or
``~/.cache/dmftnet``, under a hash of the weights and of the code that reads them; where nothing can
be written each process makes its own, in half a second. Guesses, features, head and Dyson's
equation are the same code with either. Answers agree to float32 rounding.

One thread runs a solve: at a millisecond a second one does not pay, a second process does. ONNX
Runtime comes with ``pip install 'dmftnet[onnx]'``.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.models.networks import onnx_graph
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.heads import Head
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.onnx_graph import NotExportableError, exported
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.provenance import sha256_of_all

BACKENDS = ("auto", "torch", "onnx")
NEEDED = ("onnx", "onnxruntime")
THREADS = 1


def with_backend(model: SpectralModel, backend: str) -> tuple[SpectralModel, str]:
    """A model for use, and what runs its body.

    Parameters
    ----------
    model : SpectralModel
    backend : {"auto", "torch", "onnx"}
        ``auto``: ``onnx`` where it is installed and the model has a graph, else ``torch``.

    Returns
    -------
    model : SpectralModel
        The same, or a copy with the same weights, not to be trained.
    backend : {"torch", "onnx"}

    Raises
    ------
    SettingError
        If ``onnx`` is asked for and not installed.
    NotExportableError
        If it is asked for and the model has no graph.
    """
    checks.choice("solver.backend", backend, BACKENDS)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if backend == "onnx" and missing:
        raise SettingError(
            f"solver.backend = 'onnx': {' and '.join(missing)} cannot be imported; run "
            "pip install 'dmftnet[onnx]', or set solver.backend=torch"
        )
    if backend == "torch" or missing:
        return model, "torch"
    try:
        return _with_runtime(model), "onnx"
    except NotExportableError:
        if backend == "onnx":
            raise
        return model, "torch"


def _with_runtime(model: SpectralModel) -> SpectralModel:
    result = copy.copy(model)
    if isinstance(model, Ensemble) and model.together is not None:
        nets = [member.net for member in model.members]
        together = _with_body(model.together, Runtime(graph_of(nets)))
        result._modules = {**model._modules, "together": together}
        return result
    if isinstance(model, Head):
        return _with_body(model, Runtime(graph_of([model.net]), members=False))
    what = "of different architectures" if isinstance(model, Ensemble) else "that is no network"
    raise NotExportableError(
        f"a {type(model).__name__} {what} has no ONNX graph; set solver.backend=torch"
    )


def _with_body(head: Head, runtime: Runtime) -> Head:
    """A copy whose network hands features over to a graph."""
    net, result = copy.copy(head.net), copy.copy(head)

    def forward(hybridization, params, guesses=None):
        if guesses is None and net.guesses is not None:
            guesses = net.guesses(hybridization, params)
        return runtime(net.tokens(hybridization, guesses), net.parameter_input(params))

    vars(net)["forward"] = forward
    result._modules = {**head._modules, "net": net}
    return result


class Runtime:
    """A graph as a function of features and parameters, on one thread of the CPU.

    Parameters
    ----------
    graph : bytes
        What `exported` gave.
    members : bool
        Whether arrays have an axis of the members before that of the batch.
    """

    def __init__(self, graph: bytes, members: bool = True):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        options.log_severity_level = 3  # errors alone; they are raised, too
        self.graph, self.members = graph, members
        self.session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def __reduce__(self):
        return Runtime, (self.graph, self.members)

    def __call__(self, features: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """([1,] B, n_w, n_features), ([1,] B, n_params) -> ([M,] B, n_outputs, n_w) float32."""
        if self.members:
            features, parameters = features[0], parameters[0]
        given = (features, parameters)
        names = (onnx_graph.FEATURES, onnx_graph.PARAMETERS)
        inputs = {
            name: np.ascontiguousarray(values.float().numpy())
            for name, values in zip(names, given, strict=True)
        }
        output = torch.from_numpy(self.session.run([onnx_graph.OUTPUT], inputs)[0])
        return output if self.members else output[0]


def cache_folder() -> Path:
    """Where graphs are kept; need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~", ".cache").expanduser()) / "dmftnet"


def graph_of(networks: Sequence[SpectralNetwork]) -> bytes:
    """The graph of networks, from the cache or written anew."""
    file = cache_folder() / f"{_key(networks)}.graph"
    with suppress(OSError):
        digest, graph = (content := file.read_bytes())[:32], content[32:]
        if hashlib.sha256(graph).digest() == digest:
            return graph
    graph = exported(networks)
    temporary = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(graph).digest() + graph)
        os.replace(temporary, file)
    except OSError:  # a folder that only others may write, or a full disk
        with suppress(OSError):
            temporary.unlink()
    return graph


def _key(networks: Sequence[SpectralNetwork]) -> str:
    """Hash of weights, settings and code."""
    folder = Path(onnx_graph.__file__).parent
    content = hashlib.sha256(sha256_of_all(sorted(folder.rglob("*.py"))).encode())
    simple = (int, float, str, tuple, bool, type(None))
    for net in networks:
        for name, module in net.named_modules():
            settings = {k: v for k, v in vars(module).items() if isinstance(v, simple)}
            content.update(f"{name} {type(module).__name__} {sorted(settings.items())}".encode())
        for name, values in sorted(net.state_dict().items()):
            content.update(f"{name} {tuple(values.shape)}".encode() + values.numpy().tobytes())
    return content.hexdigest()
