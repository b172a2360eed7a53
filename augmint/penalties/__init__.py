"""Penalties: regularisers of one player, each with its own weight and interval.

The axis is `penalties` (`augmint.core.registry.PENALTIES`); its base is `base.Penalty`, called with
a `PenaltyContext` that holds what it declares in `needs`, and its own explicit state.

Members: `gradient` (gradient-penalty, r1, r2, dragan), `outputs` (consistency, lecam,
feature-matching), `path_length`, `weights` (orthogonal). A penalty returns its weighted value; the
loop multiplies by the interval and lowers the rate a little (`base.Penalty`).

To add one: a frozen dataclass in a module here, decorated with `@PENALTIES.register("name")`, that
declares `player`, `needs`, whether it takes gradients sample by sample (`per_sample`, refused
beside batch coupling), differentiates a gradient (`double_backward`) or mirrors images (`mirrors`).
"""
