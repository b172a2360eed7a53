"""Core: what every room stands on; it imports no other room.

- `errors`: rule, value, remedy.  - `config`: frozen dataclasses read, checked, printed, hashed.
- `registry`: the axes and their members.  - `types`: shapes, and Protocols between rooms.
- `streams`: counter-based randomness.  - `runs`: atomic files, checkpoints, locks, provenance.
- `progress`: long work shows itself.  - `machine`: allocator, threads, device.
- `pictures`: grids of images.

A new axis is one line at the end of `registry`.
"""
