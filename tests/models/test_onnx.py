"""Networks run by ONNX Runtime: the same answers as torch's, from graphs that are made once."""

import pickle

import numpy as np
import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION
from toy_networks import HEADS, NETWORKS

from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.onnx_graph import NotExportableError, exported
from dmftnet.models.solvers import backend
from dmftnet.models.solvers.backend import graph_of, with_backend
from dmftnet.models.solvers.network import SHIPPED, NetworkSolver
from dmftnet.models.training.baselines import NearestNeighbour
from dmftnet.models.training.checkpoint import build_model, save_model
from dmftnet.models.training.record import REQUIRED
from dmftnet.models.training.scoring import predict_members
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIX_PLACES = {"rtol": 1e-5, "atol": 1e-5}
"""Float32 has seven, of spectra of a few 1/D."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of each test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dmftnet"


def model(network="film", head="rotated", seed=0, **changes):
    """An untrained network whose weights are all at work."""
    torch.manual_seed(seed)
    config = {**NETWORKS[network], **changes}
    made = build_model(config, HEADS[head], GRID, ANGLES, RESOLUTION)
    with torch.no_grad():
        for values in made.parameters():
            values += 0.1 * torch.randn_like(values)
    return made.eval()


def inputs(grid, n=5):
    """Doped and half-filled problems, which are evaluated with and without their mirror images."""
    U, shift = np.linspace(0.5, 4, n), np.linspace(-1, 1, n)  # the middle one is half filled
    baths = [semicircle(grid, 0.2 * s, 1.0, 0.25) for s in shift]
    return np.array(baths), np.stack([U, shift - U / 2], axis=1)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_architecture_answers_as_in_torch(network, head):
    made = model(network, head)
    running, used = with_backend(made, "onnx")
    assert used == "onnx"
    for n in (1, 5):
        given = inputs(made.frequency_grid, n)
        found, expected = (predict_members(each, *given) for each in (running, made))
        np.testing.assert_allclose(found, expected, **SIX_PLACES)


@pytest.mark.parametrize("network", NETWORKS)
def test_an_ensemble_is_one_graph(network):
    made = Ensemble([model(network, seed=seed) for seed in range(3)]).eval()
    running, _ = with_backend(made, "onnx")
    given = inputs(made.frequency_grid)
    found, expected = (predict_members(each, *given) for each in (running, made))
    assert found.shape[0] == 3 and np.abs(expected[0] - expected[1]).max() > 1e-2
    np.testing.assert_allclose(found, expected, **SIX_PLACES)
    assert running.state_dict().keys() == made.state_dict().keys()


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("U", [0.5, 2.0, 4.0])
def test_the_shipped_networks_answer_as_in_torch(name, U):
    torch_solver, onnx_solver = (NetworkSolver(name, backend=b) for b in ("torch", "onnx"))
    grid = torch_solver.grid
    for shift in (0.0, -0.6):
        problem = ImpurityProblem.on_grid(U, shift - U / 2, grid, semicircle(grid, 0, 1, 0.25))
        one, other = (s.solve_batch([problem])[0] for s in (torch_solver, onnx_solver))
        np.testing.assert_allclose(other.spectrum(), one.spectrum(), **SIX_PLACES)
        assert (one.diagnostics["backend"], other.diagnostics["backend"]) == ("torch", "onnx")
    assert torch_solver.identity == onnx_solver.identity


def test_a_graph_is_kept_by_its_weights(cache, monkeypatch):
    nets = [model(seed=seed).net for seed in range(2)]
    first = graph_of(nets[:1])
    (file,) = cache.iterdir()
    assert graph_of(nets[1:]) != first and len(list(cache.iterdir())) == 2
    with monkeypatch.context() as patch:
        patch.setattr(backend, "exported", None)  # cannot be called
        assert graph_of(nets[:1]) == first
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", whole[:-1] + b"?"):
        file.write_bytes(damaged)
        assert graph_of(nets[:1]) == first and file.read_bytes() == whole


def test_other_settings_with_the_same_weights_are_another_graph():
    """Heads of attention change no shape."""
    one, other = model(n_heads=2), model(n_heads=4)
    assert graph_of([one.net]) != graph_of([other.net])


def test_a_cache_that_cannot_be_written_is_done_without(cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made = model()
    running, used = with_backend(made, "auto")
    assert used == "onnx" and not cache.exists()
    given = inputs(made.frequency_grid)
    found, expected = (predict_members(each, *given) for each in (running, made))
    np.testing.assert_allclose(found, expected, **SIX_PLACES)


def test_a_session_is_made_anew_in_another_process():
    """What a pool of workers is sent."""
    net = model().net
    runtime = backend.Runtime(exported([net]))
    features, parameters = torch.rand(1, 2, net.n_w, net.n_features), torch.rand(1, 2, 2)
    copied = pickle.loads(pickle.dumps(runtime))
    torch.testing.assert_close(copied(features, parameters), runtime(features, parameters))


def test_one_thread_runs_it():
    session = backend.Runtime(exported([model().net])).session
    assert session.get_session_options().intra_op_num_threads == 1


def test_what_has_no_graph_says_so_and_auto_takes_torch():
    nearest = NearestNeighbour(GRID, ANGLES)
    mixed = Ensemble([model(), model("mlp")]).eval()
    for made, what in ((nearest, "NearestNeighbour"), (mixed, "different architectures")):
        with pytest.raises(NotExportableError, match=rf"{what}.*solver.backend=torch"):
            with_backend(made, "onnx")
        assert with_backend(made, "auto") == (made, "torch")


def test_an_unknown_function_is_named(monkeypatch):
    made = model()
    monkeypatch.setattr(made.net, "project", lambda x: torch.erfinv(x))
    with pytest.raises(NotExportableError, match=r"erfinv .*solver.backend=torch"):
        exported([made.net])


def test_a_checkpoint_runs_by_its_backend(tmp_path):
    arguments = (NETWORKS["film"], HEADS["rotated"], GRID, list(ANGLES), list(RESOLUTION))
    save_model(tmp_path / "run", model(), dict(zip(REQUIRED, arguments, strict=True)))
    assert NetworkSolver(tmp_path / "run").backend == "onnx"
    assert NetworkSolver(tmp_path / "run", backend="torch").backend == "torch"
