"""Print how often the decision of a study is wrong when there is nothing to find.

python benchmarks/null.py --studies 4000 --seeds 5
"""

from __future__ import annotations

import argparse

from augmint.core.machine import set_allocator
from augmint.studies.null import NullConfig, measure_null


def main() -> None:
    """Measure and print."""
    defaults = NullConfig()
    parser = argparse.ArgumentParser(description="False verdicts over studies without an effect.")
    parser.add_argument("--studies", type=int, default=defaults.studies)
    parser.add_argument("--seeds", type=int, default=defaults.seeds)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    given = parser.parse_args()
    set_allocator()
    found = measure_null(NullConfig(studies=given.studies, seeds=given.seeds, seed=given.seed))
    print(
        f"{found['studies']} null studies of {found['seeds']} seeds in {found['seconds']} s "
        f"(mean accuracy {found['accuracy']:.3f}, sd of differences {found['sd']:.4f})"
    )
    print(
        f"false verdicts: {found['false_share']:.2%} "
        f"(95 % interval {found['false_low']:.2%} to {found['false_high']:.2%}; nominal 5 %)"
    )
    print(f"  were a percentile bootstrap over seeds to decide: {found['bootstrap_share']:.2%}")
    for verdict, count in found["verdicts"].items():
        print(f"  {verdict}: {count}")


if __name__ == "__main__":
    main()
