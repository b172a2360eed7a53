"""Aspects: what is known about an image, one file per kind.

The base is `aspects.base.Aspect`, with the one coordinate convention; `Schema` orders the aspects
of a data set, and `sides` tells left from right by names. Members: `category`, `vector`,
`landmarks`, `mask`, `map`. A new kind is one file with one frozen dataclass, registered by
`@ASPECTS.register("kind")`, that says how it is stored, encoded, warped, scored, scaled and drawn;
`tests/aspects/test_conformance.py` asks for it.
"""
