"""Aspects: what is known about an image, one file per kind.

The base is `aspects.base.Aspect`, with the one coordinate convention; `Schema` orders the aspects
of a data set. Members: `category`. A new kind is one file with one frozen dataclass, registered by
`@ASPECTS.register("kind")`, that says how it is stored, encoded, warped, scored and shown; the
conformance test takes it up from the registry.
"""
