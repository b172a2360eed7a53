"""Conditioning: where the aspects of an image enter a GAN.

The axis is `conditioning` (`augmint.core.registry.CONDITIONING`); its base is `base.Conditioning`,
which owns four places: the latent, the generator's side, the critic's side, and auxiliary networks
beside the critic. A member overrides the places it uses; the others stay neutral.

Members: `latent` (none; concatenation, the CGAN), `critic_side` (ACGAN, projection, InfoGAN), and
beside the critic (`auxiliary`) `vac` (a classifier), `var` (a regressor), `vac_var` (both).
`generator_side` holds what those share that ask the generator by a code; `encoding` turns a schema
and values into one vector a sample.

To add one: a frozen dataclass in a module here, decorated with `@CONDITIONING.register("name")`,
that declares the kinds of aspect it carries and what it needs of generator and critic.
"""
