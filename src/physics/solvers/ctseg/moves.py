"""Moves of one chain, and the sequence of them.

=============  ===================================================================================
insertion      of a segment into an empty stretch, or of a hole into a segment
removal        of a segment or of a hole; of a spin without operators: full to empty or back
shift          of one end of a segment, between its neighbours
shift both     of one end, and of one of the other kind and spin, by the same time
=============  ===================================================================================

Each attempt draws one of the kinds and a spin, all alike; `shift_both`, which has both spins, one
time in 13. Exchanging the spins changes no weight; measurements average over both, which is that
exchange, always accepted. A local moment that turns over for a while is a hole of one spin with a
segment of the other; `shift_both` makes it longer at no cost of U, where single shifts take many
short steps.

Acceptance, insertion of a segment at a time drawn from [0, beta) with a length drawn from
(0, l_max), l_max up to the next creator:
``beta l_max / (k + 1) |det A' / det A| exp(-eps l - U overlap)``; a hole likewise up to the next
annihilator, with ``+eps l + U overlap``; removal is the inverse.

Reference: P. Werner et al., PRL 97, 076405 (2006); E. Gull et al., RMP 83, 349 (2011), section V.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.solvers.compiled import compiled
from dmftnet.physics.solvers.ctseg.configuration import (
    bath,
    count_below,
    crosses,
    matrix_of,
    occupied,
    occupied_during,
)
from dmftnet.physics.solvers.ctseg.determinants import (
    column_ratio,
    grow,
    grown_ratio,
    refreshed,
    replace_column,
    replace_row,
    row_ratio,
    shrink,
    turn,
)

INSERT_SEGMENT, INSERT_HOLE, REMOVE_SEGMENT, REMOVE_HOLE, SHIFT_END, SHIFT_START, SHIFT_BOTH = (
    range(7)
)
KINDS = (
    "insert segment",
    "insert hole",
    "remove segment",
    "remove hole",
    "shift end",
    "shift start",
    "shift both",
)
REFRESH = 500
"""Moves after which the inverses are computed anew."""


@compiled
def parity(n):
    """``(-1)^n``."""
    return 1.0 - 2.0 * (n % 2)


@compiled
def until_next(times, k, tau, beta):
    """Time from tau to the next of the k sorted times around the circle; beta without any."""
    if k == 0:
        return beta
    place = count_below(times, k, tau)
    if place < k and times[place] == tau:
        place += 1
    return times[place] - tau if place < k else times[0] + beta - tau


@compiled
def since_last(times, k, tau, beta):
    """Time from the last of the k sorted times to tau around the circle; beta without any."""
    if k == 0:
        return beta
    place = count_below(times, k, tau)
    return tau - times[place - 1] if place > 0 else tau + beta - times[k - 1]


@compiled
def count_equal(times, k, tau):
    """Number of the first k sorted times that are tau."""
    place = count_below(times, k, tau)
    return 1 if place < k and times[place] == tau else 0


@compiled
def wrapped(tau, beta):
    """tau in [0, beta)."""
    return tau - beta if tau >= beta else (tau + beta if tau < 0 else tau)


@compiled
def energy_of(state, spin, tau, length, beta, eps, U):
    """Exponent by which the weight falls if a spin becomes occupied for a time from tau."""
    creators, annihilators, _, order, full, _ = state
    other = 1 - spin
    both = occupied_during(
        creators[other], annihilators[other], order[other], full[other], tau, length, beta
    )
    return eps * length + U * both


@compiled
def accepted(rng, state, ratio):
    """Metropolis on the absolute value; the sign goes with the configuration."""
    if not rng.random() < abs(ratio):  # also where 0 meets infinity: no number
        return False
    if ratio < 0:
        state[5][0] = -state[5][0]
    return True


@compiled
def insert(rng, state, spin, hole, beta, eps, U, table, scratch):
    """Attempt to insert a segment, or a hole into one."""
    all_creators, all_annihilators, inverses, order, full, _ = state
    creators, annihilators = all_creators[spin], all_annihilators[spin]
    k = order[spin]
    tau = rng.random() * beta
    if occupied(creators, annihilators, k, full[spin], tau) != hole:
        return False
    longest = until_next(annihilators if hole else creators, k, tau, beta)
    length = rng.random() * longest
    end = wrapped(tau + length, beta)
    start, stop = (end, tau) if hole else (tau, end)  # creator, annihilator
    if length == 0 or start == stop:
        return False
    place = count_below(creators, k, start), count_below(annihilators, k, stop)
    column, row, by_column, by_row = scratch[0], scratch[1], scratch[2], scratch[3]
    for i in range(k):
        column[i] = bath(annihilators[i] - start, beta, table)
        row[i] = bath(stop - creators[i], beta, table)
    ratio = grown_ratio(inverses[spin], k, column, row, bath(stop - start, beta, table), by_column)
    first_creator = min(creators[0], start) if k > 0 else start
    first_annihilator = min(annihilators[0], stop) if k > 0 else stop
    crossing = 1 if first_annihilator < first_creator else 0
    sign = parity(place[0] + place[1] + crosses(creators, annihilators, k) * k + crossing * (k + 1))
    energy = energy_of(state, spin, tau, length, beta, eps, U)
    weight = np.exp(energy if hole else -energy)
    if not accepted(rng, state, beta * longest / (k + 1) * ratio * sign * weight):
        return False
    grow(inverses[spin], k, place, row, by_column, by_row, ratio)
    for i in range(k, place[0], -1):
        creators[i] = creators[i - 1]
    for i in range(k, place[1], -1):
        annihilators[i] = annihilators[i - 1]
    creators[place[0]], annihilators[place[1]] = start, stop
    order[spin] = k + 1
    return True


@compiled
def remove(rng, state, spin, hole, beta, eps, U):
    """Attempt to remove a segment or a hole; to flip a spin that has none."""
    all_creators, all_annihilators, inverses, order, full, _ = state
    creators, annihilators = all_creators[spin], all_annihilators[spin]
    k = order[spin]
    if k == 0:
        energy = energy_of(state, spin, 0.0, beta, beta, eps, U)
        if not accepted(rng, state, np.exp(energy if full[spin] else -energy)):
            return False
        full[spin] = 1 - full[spin]
        return True
    cross = crosses(creators, annihilators, k)
    chosen = min(int(rng.random() * k), k - 1)
    if hole:  # from an annihilator to the next creator
        place = (chosen - cross + 1) % k, chosen
        tau, end = annihilators[place[1]], creators[place[0]]
        longest = until_next(annihilators, k, tau, beta) if k > 1 else beta
    else:
        place = chosen, (chosen + cross) % k
        tau, end = creators[place[0]], annihilators[place[1]]
        longest = until_next(creators, k, tau, beta) if k > 1 else beta
    length = wrapped(end - tau, beta)
    crossing = 0
    if k > 1:
        first_creator = creators[1] if place[0] == 0 else creators[0]
        first_annihilator = annihilators[1] if place[1] == 0 else annihilators[0]
        crossing = 1 if first_annihilator < first_creator else 0
    sign = parity(place[0] + place[1] + cross * k + crossing * (k - 1))
    energy = energy_of(state, spin, tau, length, beta, eps, U)
    weight = np.exp(-energy if hole else energy)
    ratio = inverses[spin][place] * sign
    if not accepted(rng, state, k / (beta * longest) * ratio * weight):
        return False
    shrink(inverses[spin], k, place)
    for i in range(place[0], k - 1):
        creators[i] = creators[i + 1]
    for i in range(place[1], k - 1):
        annihilators[i] = annihilators[i + 1]
    order[spin] = k - 1
    full[spin] = hole
    return True


@compiled
def shift(rng, state, spin, at_end, beta, eps, U, table, scratch):
    """Attempt to move an annihilator (``at_end``) or a creator between its neighbours."""
    all_creators, all_annihilators, _, order, _, _ = state
    creators, annihilators = all_creators[spin], all_annihilators[spin]
    k = order[spin]
    if k == 0:
        return False
    cross = crosses(creators, annihilators, k)
    chosen = min(int(rng.random() * k), k - 1)
    moved, fixed = (annihilators, creators) if at_end else (creators, annihilators)
    partner = (chosen - cross) % k if at_end else (chosen + cross) % k
    old, anchor = moved[chosen], fixed[partner]
    if at_end:
        longest = until_next(creators, k, anchor, beta) if k > 1 else beta
        length, before = rng.random() * longest, wrapped(old - anchor, beta)
        new = wrapped(anchor + length, beta)
        changed_from = old if length > before else new
    else:
        longest = since_last(annihilators, k, anchor, beta) if k > 1 else beta
        length, before = rng.random() * longest, wrapped(anchor - old, beta)
        new = wrapped(anchor - length, beta)
        changed_from = new if length > before else old
    if length == 0 or new == anchor:
        return False
    line = scratch[0]
    ratio = moved_ratio(state, spin, at_end, chosen, new, beta, table, line)
    turned, sign = reordered(moved, fixed, k, chosen, new, at_end)
    energy = energy_of(state, spin, changed_from, abs(length - before), beta, eps, U)
    weight = np.exp(-energy if length > before else energy)
    if not accepted(rng, state, ratio * sign * weight):
        return False
    put(state, spin, at_end, chosen, new, line, ratio, turned)
    return True


@compiled
def moved_ratio(state, spin, at_end, chosen, new, beta, table, line):
    """``det A' / det A`` with an annihilator (``at_end``) or a creator elsewhere; line: its row."""
    creators, annihilators, inverses, order, _, _ = state
    k = order[spin]
    for i in range(k):
        step = new - creators[spin, i] if at_end else annihilators[spin, i] - new
        line[i] = bath(step, beta, table)
    if at_end:
        return row_ratio(inverses[spin], k, chosen, line)
    return column_ratio(inverses[spin], k, chosen, line)


@compiled
def reordered(moved, fixed, k, chosen, new, at_end):
    """Places by which the sorted order turns, across beta, and the sign that comes with it."""
    turned = 0
    if k > 1:
        if chosen == k - 1 and new < moved[0]:
            turned = 1
        elif chosen == 0 and new > moved[k - 1]:
            turned = -1
    first = new
    if turned == -1:
        first = moved[1]
    elif turned == 0 and chosen > 0:
        first = moved[0]
    cross = 1 if (moved[0] < fixed[0]) == at_end else 0
    crossing = 1 if (first < fixed[0]) == at_end else 0
    return turned, parity((cross + crossing) * k + (k - 1) * turned)


@compiled
def put(state, spin, at_end, chosen, new, line, ratio, turned):
    """Move an operator to where `moved_ratio` and `reordered` have it."""
    creators, annihilators, inverses, order, _, _ = state
    k = order[spin]
    moved = annihilators[spin] if at_end else creators[spin]
    if at_end:
        replace_row(inverses[spin], k, chosen, line, ratio)
    else:
        replace_column(inverses[spin], k, chosen, line, ratio)
    moved[chosen] = new
    if turned != 0:
        turn(moved, k, turned)
        for i in range(k):
            turn(inverses[spin, i, :k] if at_end else inverses[spin, :k, i], k, turned)


@compiled
def shift_both(rng, state, at_end, beta, U, table, scratch):
    """Attempt to move an annihilator (``at_end``) or a creator of up, with the other kind of down.

    By the same time, between the neighbours of both. A spin that turns over has a pair of such
    operators at each end: this makes it longer or shorter at no cost of U.
    """
    creators, annihilators, _, order, full, _ = state
    spin, other = 0, 1
    k, m = order[spin], order[other]
    if k == 0 or m == 0:
        return False
    one, two = min(int(rng.random() * k), k - 1), min(int(rng.random() * m), m - 1)
    if at_end:
        mine, mine_fixed = annihilators[spin], creators[spin]
        its, its_fixed = creators[other], annihilators[other]
    else:
        mine, mine_fixed = creators[spin], annihilators[spin]
        its, its_fixed = annihilators[other], creators[other]
    old, old_other = mine[one], its[two]
    before = min(since_last(mine_fixed, k, old, beta), since_last(its_fixed, m, old_other, beta))
    after = min(until_next(mine_fixed, k, old, beta), until_next(its_fixed, m, old_other, beta))
    step = rng.random() * (before + after) - before
    new, new_other = wrapped(old + step, beta), wrapped(old_other + step, beta)
    if step == 0 or count_equal(mine_fixed, k, new) or count_equal(its_fixed, m, new_other):
        return False
    line, line_other = scratch[0], scratch[1]
    ratio = moved_ratio(state, spin, at_end, one, new, beta, table, line)
    ratio_other = moved_ratio(state, other, not at_end, two, new_other, beta, table, line_other)
    turned, sign = reordered(mine, mine_fixed, k, one, new, at_end)
    turned_other, sign_other = reordered(its, its_fixed, m, two, new_other, not at_end)
    # of the stretches that change: the overlap with what the other spin was, and with each other
    length = abs(step)
    start, start_other = (old, old_other) if step > 0 else (new, new_other)
    meets = occupied_during(creators[other], annihilators[other], m, full[other], start, length,
                            beta)  # fmt: skip
    meets -= occupied_during(creators[spin], annihilators[spin], k, full[spin], start_other, length,
                             beta)  # fmt: skip
    apart = wrapped(start_other - start, beta)
    common = max(0.0, length - apart) + max(0.0, length - (beta - apart))
    both = (meets if (step > 0) == at_end else -meets) - common
    total = ratio * ratio_other * sign * sign_other
    if not accepted(rng, state, total * np.exp(-U * both)):
        return False
    put(state, spin, at_end, one, new, line, ratio, turned)
    put(state, other, not at_end, two, new_other, line_other, ratio_other, turned_other)
    return True


@compiled
def move(rng, state, beta, eps, U, table, scratch, counts):
    """One attempt.

    Parameters
    ----------
    rng : numpy.random.Generator
    state : tuple
        `Configuration.arrays`, changed.
    beta, eps, U : float
        Inverse temperature in 1/D, level and repulsion in D.
    table : (n, 4) float64
        See `dmftnet.physics.solvers.ctseg.configuration.bath_table`.
    scratch : (4, room) float64
    counts : (7, 2) int64
        Attempts and acceptances of each kind, counted on.
    """
    draw = int(rng.random() * (2 * SHIFT_BOTH + 1))
    spin, kind = draw % 2, draw // 2
    if kind == INSERT_SEGMENT or kind == INSERT_HOLE:
        done = insert(rng, state, spin, kind == INSERT_HOLE, beta, eps, U, table, scratch)
    elif kind == REMOVE_SEGMENT or kind == REMOVE_HOLE:
        done = remove(rng, state, spin, kind == REMOVE_HOLE, beta, eps, U)
    elif kind == SHIFT_BOTH:
        done = shift_both(rng, state, rng.random() < 0.5, beta, U, table, scratch)
    else:
        done = shift(rng, state, spin, kind == SHIFT_END, beta, eps, U, table, scratch)
    counts[kind, 0] += 1
    counts[kind, 1] += done


@compiled
def refresh(state, beta, table):
    """Compute both inverses anew; the largest relative change."""
    creators, annihilators, inverses, order, _, _ = state
    drift = 0.0
    for spin in range(2):
        k = order[spin]
        if k > 0:
            matrix = matrix_of(creators[spin], annihilators[spin], k, beta, table)
            drift = max(drift, refreshed(inverses[spin], matrix, k))
    return drift
