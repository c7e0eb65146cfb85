"""Makes a small dataset by the real generation, in threads, with the toy solver."""

from concurrent.futures import ThreadPoolExecutor

from toy_solver import ToySolver

from dmftnet.data.generation import generate, open_journal
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe


def make_file(path, plan, solver=None, n_w=400, executor=None, **options):
    """Run a plan in threads (or on the given executor) and return the path."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, n_w)
    journal = open_journal(path, plan, grid, {"recipe": "test", "config": ""})
    with executor or ThreadPoolExecutor(2) as workers:
        jobs = [plan, solver or ToySolver(), Bethe(), grid, workers, journal]
        for _ in generate(*jobs, **options):
            pass
    journal.finish()
    return path
