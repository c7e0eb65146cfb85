"""Compilation where its result can be kept and where it cannot."""

import numba.core.caching

from dmftnet.physics.solvers.compiled import compiled


def test_without_a_place_for_the_cache_a_function_is_compiled_all_the_same(monkeypatch):
    caches = numba.core.caching.CompileResultCacheImpl
    monkeypatch.setattr(caches, "_locator_classes", [])  # neither the package nor the home
    double = compiled(lambda x: 2 * x)
    assert double(1.5) == 3.0
    assert double.signatures and not double.stats.cache_path
