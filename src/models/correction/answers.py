"""Causal answers: what a correction puts out, projected onto positive measures.

For arrays of many problems and any model, in torch; solvers that answer one problem after the other
take `dmftnet.models.correction.compiled` where a model has that form.
"""

from __future__ import annotations

import numpy as np
import torch

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.outputs import Outputs, Prediction, require_finite
from dmftnet.models.correction.thermal import Answer, Problems, second_order

CHUNK = 2048

Model = CorrectionModel | CorrectionEnsemble


@torch.no_grad()
def answers(
    model: Model, problems: Problems, prediction: Prediction | None = None
) -> tuple[np.ndarray | None, Answer]:
    """Causal answers: the measures (B, J) of the self-energy, and n, Sigma, G at the axis.

    Of a model that is not projected no measures, and the answer as it is. `prediction` is that of
    the model, where it is known.

    Raises
    ------
    ConvergenceError
        If the model's output is not finite.
    """
    if not model.is_projected:
        answer = model(problems)
        require_finite(Outputs(answer.greens))
        return None, answer
    found = model.predict(problems) if prediction is None else prediction
    given = found.outputs.measures
    if given is not None:
        return given.cpu().numpy(), found.answer
    strength = found.outputs.strength
    measures = project(model, problems, found.outputs.q, strength, found.answer.greens)
    return measures, model.dyson(problems, measured(model, problems, measures), strength)


def project(
    model: Model,
    problems: Problems,
    q: torch.Tensor,
    strength: torch.Tensor | None = None,
    greens: torch.Tensor | None = None,
) -> np.ndarray:
    """(B, J) measures nearest to q, weighted by the error of G that they make.

    ``greens`` (B, n_iw) is that of q, where it is known.
    """
    beta = problems[Batch.BETA].cpu().numpy()
    S = (second_order(problems) if strength is None else strength).cpu().numpy()
    greens = model.dyson(problems, q, strength).greens if greens is None else greens
    z = model.dyson.frequencies(problems[Batch.BETA]).cpu().numpy()
    values = q.cpu().numpy() / z / beta[:, None]
    weights = np.abs(greens.cpu().numpy()) ** 2 * S[:, None]
    return np.stack([model.measure.fit(v, w) for v, w in zip(values, weights, strict=True)])


def measured(model: Model, problems: Problems, measures: np.ndarray) -> torch.Tensor:
    """(B, n_iw) complex128 q of (B, J) measures."""
    beta = problems[Batch.BETA]
    t = torch.as_tensor(measures @ model.measure.kernel.T).to(beta.device) * beta[:, None]
    return model.dyson.frequencies(beta) * t


@torch.no_grad()
def errors(model: Model, arrays: ThermalArrays) -> np.ndarray:
    """(n,) ``(1/beta) integral |G - G_exact| dtau`` of causal answers, in chunks."""
    found = []
    for start in range(0, len(arrays), CHUNK):
        part = as_problems(arrays.take(np.arange(start, min(start + CHUNK, len(arrays)))))
        exact = model.dyson.greens(part, part[Batch.SELF_ENERGY])
        found.append(model.dyson.distance(answers(model, part)[1].greens, exact, part[Batch.BETA]))
    return torch.cat(found).cpu().numpy()
