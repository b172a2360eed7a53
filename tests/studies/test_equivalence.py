from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from augmint.core.errors import UsageError
from augmint.studies.equivalence import PowerLaw, fit_power_law, real_equivalent

LEVELS = np.array([25, 50, 100, 200])


def measured(
    law: PowerLaw, treatment: float, noise: float, seed: int = 0, seeds: int = 5
) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    generator = np.random.default_rng(seed)
    curve = [(int(n), law.error(n) + noise * generator.normal(size=seeds)) for n in LEVELS]
    return curve, treatment + noise * generator.normal(size=seeds)


@pytest.mark.parametrize(
    "law",
    [
        PowerLaw(0.05, 1.0, 0.5),
        PowerLaw(0.0, 2.0, 0.7),
        PowerLaw(0.1, 40.0, 1.5),
        PowerLaw(0.2, 300.0, 2.0),
    ],
)
def test_an_exact_curve_is_found_again(law: PowerLaw) -> None:
    fitted = fit_power_law(LEVELS, [law.error(n) for n in LEVELS])
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(
        (law.a, law.b, law.c), rel=1e-3, abs=1e-4
    )
    assert fitted.images(law.error(77)) == pytest.approx(77, rel=1e-4)


def test_no_other_optimiser_fits_better() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        errors = np.sort(generator.uniform(0.05, 0.5, 4))[::-1]
        ours = fit_power_law(LEVELS, errors)
        residual = ((errors - [ours.error(n) for n in LEVELS]) ** 2).sum()
        assert ours.a >= 0
        assert ours.b >= 0
        assert 0 < ours.c <= 2
        for start in ([0.01, 1.0, 0.5], [0.1, 10.0, 1.0], [0.2, 50.0, 1.8]):
            bounds = ([0, 0, 0.02], [np.inf, np.inf, 2])
            theirs, _ = curve_fit(
                lambda n, a, b, c: a + b * n**-c,
                LEVELS,
                errors,
                start,
                bounds=bounds,
                maxfev=20_000,
            )
            law = PowerLaw(*map(float, theirs))
            other = ((errors - [law.error(n) for n in LEVELS]) ** 2).sum()
            assert residual <= other + 1e-9


def test_the_worth_is_read_off_the_curve() -> None:
    law = PowerLaw(0.05, 1.0, 0.5)
    curve, treatment = measured(law, law.error(140), noise=1e-6)
    found = real_equivalent(curve, treatment, n_now=100)
    assert found.worth == pytest.approx(40, abs=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.worth < found.high
    assert not found.clipped
    harmful = real_equivalent(curve, treatment, n_now=180)
    assert harmful.worth == pytest.approx(-40, abs=0.1)


def test_the_interval_covers_at_about_its_nominal_rate() -> None:
    law = PowerLaw(0.05, 1.0, 0.5)
    covered = []
    for seed in range(150):
        curve, treatment = measured(law, law.error(100), noise=0.002, seed=seed)
        found = real_equivalent(curve, treatment, n_now=100)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= 0 <= found.high)
    # one standard error of a 95 % share of 150 is 1.8 points
    assert np.mean(covered) > 0.95 - 4 * 0.018


def test_what_the_seeds_share_cancels() -> None:
    # a seed that is worse everywhere by the same error tells nothing of the curve's slope
    law = PowerLaw(0.05, 1.0, 0.5)
    shared = np.linspace(-0.01, 0.01, 5)
    curve = [(int(n), law.error(n) + shared) for n in LEVELS]
    found = real_equivalent(curve, law.error(140) + shared, n_now=100)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.5


def test_an_interval_beyond_the_range_is_cut_and_says_so() -> None:
    law = PowerLaw(0.05, 1.0, 0.5)
    curve, treatment = measured(law, law.error(190), noise=0.004, seed=3)
    found = real_equivalent(curve, treatment, n_now=100)
    assert found.clipped
    assert found.high == 100


@pytest.mark.parametrize(
    ("levels", "error", "why"),
    [
        ([50, 100], 0.2, "sub-levels"),
        ([25, 50, 100, 200], 0.01, "lies outside"),
        ([25, 50, 100, 200], 0.9, "lies outside"),
    ],
)
def test_refusals_give_their_reason(levels: list[int], error: float, why: str) -> None:
    law = PowerLaw(0.05, 1.0, 0.5)
    jitter = np.linspace(-1e-3, 1e-3, 5)
    curve = [(n, law.error(n) + jitter) for n in levels]
    found = real_equivalent(curve, error + jitter, n_now=50)
    assert found.worth is None
    assert why in found.refused


def test_a_flat_or_rising_curve_is_refused() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.01, (5, 5))
    for slope in (0.0, 0.001):
        curve = [(int(n), 0.3 + slope * n + jitter[i]) for i, n in enumerate(LEVELS)]
        found = real_equivalent(curve, 0.3 + jitter[4], n_now=100)
        assert found.worth is None
        assert "does not fall" in found.refused


def test_seeds_are_shared() -> None:
    curve = [(int(n), np.full(5, 1 / n)) for n in LEVELS]
    for treatment in (np.full(4, 0.01), np.full(1, 0.01)):
        with pytest.raises(UsageError, match="same seeds"):
            real_equivalent(curve, treatment, n_now=100)
