"""Reports: one self-contained HTML page, and `report.json` with the same numbers beside it.

`render` makes and writes the pages of studies and recipes; `plots` draws the charts (the only
module that imports matplotlib); `formats` holds the templates' filters. Pages are the jinja2
templates `page.html.j2` (a study) and `recipe.html.j2` (a recipe) on `base.html.j2`, with
`macros.html.j2` and `style.css`.

To add a section: a row in `render.SECTIONS` and a block of the same id in `page.html.j2`. All text
is escaped, every field may be missing, every number goes through a filter of `formats`.
"""
