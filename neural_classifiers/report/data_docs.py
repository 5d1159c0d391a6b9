"""Great Expectations' Data Docs as one page that loads nothing: no script, no outside address.

The renderer of Great Expectations links a dozen files on other servers and a logo whose address
carries the moment. What the page needs of their looks is a few lines of CSS, given here.
"""

import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_DROPPED = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        r"<!--.*?-->",
        r"<script\b.*?</script>",
        r"<style\b.*?</style>",  # of a layout that the dropped files would make
        r"<link\b[^>]*>",
        r"<img\b[^>]*>",
        r"<button\b.*?</button>",  # they need scripts, as do the actions
        r'<div class="card mb-3">\s*<div[^>]*>\s*<strong>Actions.*?(?=<div class="card d-md-block)',
        r"<footer\b.*?</footer>",  # a newsletter
        r"<br>\s*Data asset: None",
    )
]
_VALUE = r"""\s*=\s*(?:"(?!#)[^"]*"|'(?!#)[^']*')"""  # places in the page itself stay
_ADDRESS = re.compile(rf"\s(?:href|src|action|integrity|crossorigin|on\w+){_VALUE}")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_data_docs(result: "ExpectationSuiteValidationResult") -> str:
    """The page of a validation result: HTML that opens without a network and asks for none."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    return self_contained(DefaultJinjaPageView().render(document))


def self_contained(page: str) -> str:
    """A page without its scripts, links, images and addresses, with a look of its own."""
    for pattern in _DROPPED:
        page = pattern.sub("", page)
    page = _ADDRESS.sub("", page)
    lines = [line.rstrip() for line in page.splitlines() if line.strip()]
    look = files("neural_classifiers.report").joinpath("data_docs.css").read_text(encoding="utf-8")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>\n{look}</style>'
    )
    return "\n".join(lines).replace("</head>", f"{head}\n</head>", 1) + "\n"
