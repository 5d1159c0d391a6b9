"""What people read: page, Markdown, summary, cards and pictures of a run. Values only.

`sections`: `CommentsSection`, `DigitsSection` and `Sections`, what ``report.json`` holds.
`pages`: `render_report`, `render_markdown`, `render_summary`, `render_card`; `plain`.
`warnings`: `warnings_of`, what to know before using a model.
`departures`: `DEPARTURES`, what is done otherwise than in the notebook, and why.
`plots`: every picture, as the bytes of a PNG.
`diagrams`: `draw_diagram` and `steps_of` a pipeline.
`data_docs`: `render_data_docs`, Great Expectations' verdict as a page.
"""
