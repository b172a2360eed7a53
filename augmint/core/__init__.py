"""Core: what every other room builds on, and what builds on nothing.

errors    rule, value and remedy on one line      registry  names without imports, one per axis
config    dataclasses from mappings, strictly     streams   counter-based random numbers
types     shapes, Protocols, image conversions    runs      crash-safe files, checkpoints, events
progress  rate and time left                      machine   allocator, threads, device, ceilings
pictures  grids and PNG, Pillow only           commands  a command line as a table
stopping  a run is asked to end, by Ctrl-C     storage   errors of a full or closed disk
"""
