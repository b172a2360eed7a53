"""Reports: one self-contained HTML page, and `report.json` with the same numbers beside it.

`render` makes the pages of studies, evaluations, checks and recipes, `comparison` those of
`compare`; `plots` draws the charts that stand in pages, `curves` drawings that are files of their
own (these two alone import matplotlib); `formats` holds the templates' filters. Pages are the
jinja2 templates `page.html.j2` (a study; `evaluation.html.j2` is built on it), `compare.html.j2`,
`check.html.j2` and `recipe.html.j2` on `base.html.j2`, with `macros.html.j2` and `style.css`.

To add a section: a row in `render.SECTIONS` and a block of the same id in `page.html.j2`. All text
is escaped, every field may be missing, every number goes through a filter of `formats`.
"""
