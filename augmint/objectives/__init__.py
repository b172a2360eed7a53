"""Objectives: the adversarial pair of losses of the critic D and the generator G,
or one of G alone.

The axis is `objectives` (`augmint.core.registry.OBJECTIVES`). Its bases are `base.Objective`, two
pure functions of what the critic says and of explicit state, each giving
`(loss, new_state, logs)`, and `base.DirectObjective`, one such function of a generator and real
images, beside which no critic plays.

Members: `adversarial` (minimax, non-saturating, least-squares, wasserstein, hinge), side by side so
that they can be compared by eye; `relativistic`; `energy` (began, ebgan); `direct` (flow-matching,
vae).

To add one: a frozen dataclass in a module here, decorated with `@OBJECTIVES.register("name")`, that
declares what kinds of critic it accepts and whether its generator's loss looks at real images.
Clipping and penalties are not objectives: see `augmint.penalties` and the training loop.
"""
