"""Minting: from a trained generator to annotated images on disk,
and to a bundle that needs no data.

`sampler` draws images, each a function of (seed, id, aspects), less varied ones by `truncation`;
`curation` draws until quotas are full and keeps what a judge lets pass (`review`: by class, or by
the bound of an error), with `nearness` for near-duplicates and all counts;
`writer` writes an image folder with a manifest (`naming` makes folder names of class names), and
`provenance` what each file and the set say of themselves;
`bundle` saves and opens a generator with everything minting needs, `judge` being the network that
travels with it.

Not an axis: there is one way to mint. A new reason to reject an image is a name in
`curation.REASONS` that a `review.Review` gives; a new part of a bundle is a name in
`bundle.FILES`, written in `_describe` and checked in `_assemble`.
"""
