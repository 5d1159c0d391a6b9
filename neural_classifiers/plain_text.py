"""Text from outside, made harmless for whatever renders Markdown or HTML."""

import re

LENGTH = 300  # characters of one text in a Markdown page


def plain(text: object, length: int = LENGTH) -> str:
    """Text that neither HTML nor Markdown will take for anything else: one line, cut if long.

    Only what would be read as markup is escaped, by backslashes where there is a choice, since
    the Prefect UI shows numeric entities as they are. It also makes links of bare addresses, as
    GitHub does, and both read dollars as mathematics.

    Examples
    --------
    >>> plain("2026-11-25T13:10, science_and_technology: 3 * 4 <b>")
    '2026-11-25T13:10, science_and_technology: 3 \\\\* 4 &lt;b>'
    """
    line = re.sub(r"[^\S\N{NO-BREAK SPACE}]+", " ", str(text)).strip()
    if len(line) > length:
        line = line[: length - 1] + "…"
    line = re.sub(r"([\\`*\[|~$])", r"\\\1", line)
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)  # inside a word it is none
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line)
    line = re.sub(r"<(?=[\w/!?])", "&lt;", line)
    line = re.sub(r"(?i)\b(https?|ftp|mailto|xmpp)(?=:)", r"\1\\", line)
    line = re.sub(r"(?i)\b(www)(?=\.)|(?<=\w)(?=@\w)", r"\1\\", line)
    # at its start: headings, lists, quotations, rules, numbers of lists
    line = re.sub(r"^(?=>|[#+=:-]+(?:[\s#+=:-]|$))", r"\\", line)
    return re.sub(r"^(\d{1,9})(?=[.)](?:\s|$))", r"\1\\", line)
