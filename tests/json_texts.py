"""JSON texts and what becomes of each: refused, read, or free by the RFC and decided by us.

Written for this project from the grammar of RFC 8259, section by section. `docs/json.md` tells
the decisions; `test_json.py` holds the reader against every text.
"""

OBJECT, LIST, STRING, NUMBER, BOOLEAN, NULL = "object list string number boolean null".split()
NOT_JSON, NOT_UTF8, TOO_DEEP = "not JSON", "not UTF-8", "nested too deeply"


def _lines(kind: str, texts: str) -> list[tuple[bytes, str]]:
    return [(line.encode(), kind) for line in texts.strip("\n").split("\n")]


# Section 2 and 3: what must be read
VALID = [
    *_lines(NULL, "null\n null\n\tnull\nnull \n\r null\r"),
    *_lines(BOOLEAN, "true\nfalse\n true \nfalse\t"),
    *_lines(
        NUMBER,
        "0\n-0\n1\n-1\n10\n1234567890\n0.0\n-0.0\n0.5\n1.5\n-1.25\n0e0\n0e1\n0e+1\n0e-1\n1e5\n1E5\n"
        "1e+5\n1E+5\n1e-5\n1E-5\n1.5e3\n-1.5E-3\n0.1e1\n1e00\n1e01\n0.000\n100e2\n12.340\n"
        "18446744073709551616\n-9223372036854775809\n3.141592653589793238462643383279",
    ),
    *_lines(
        STRING,
        '""\n"a"\n" "\n"abc def"\n"null"\n"/"\n"\'"\n"[]"\n"{}"\n"//"\n"# no comment"\n'
        '"é"\n"日本語"\n"😀"\n"\N{ZERO WIDTH NO-BREAK SPACE}"\n"\x7f"\n"\u2028"\n"\u2029"\n"\x85"\n',
    ),
    *[
        (text.encode(), STRING)
        for text in r"""
        "\"" "\\" "\/" "\b\f\n\r\t" "\u0041" "\u00e9" "\u00E9" "\ud83d\ude00"
        "\uD83D\uDE00" "\u0000" "\u001f" "\u2028" "\uFFFF" "\uFDD0" "\\u0041" "\\\\"
        "a\\"
        """.split()
    ],
    *_lines(
        LIST,
        '[]\n[ ]\n[\t]\n[1]\n[1,2]\n[ 1 , 2 ]\n[null]\n[true,false,null]\n["a"]\n[[]]\n[[],[]]\n'
        '[{}]\n[{"a":1},{"a":2}]\n[1,"a",null,[],{}]\n[""]\n[-1]\n[1e5]\n[[[[]]]]',
    ),
    *_lines(
        OBJECT,
        '{}\n{ }\n{"a":1}\n{ "a" : 1 }\n{"a":1,"b":2}\n{"":0}\n{"a":null}\n{"a":{}}\n{"a":[]}\n'
        '{"a":{"b":{"c":1}}}\n{"a b":1}\n{"é":1}\n{"\\u0061":1}\n{"a":"b","c":["d"]}\n\t{}\n{}\r\n'
        '{"cat": "sports", "txt": "Barely better"}\n{"a":1,\t"b":2}\n{"\\u0000":1}',
    ),
    *[(f'"{chr(c)}"'.encode(), STRING) for c in range(0x20, 0x7F) if chr(c) not in '"\\'],
]

# Section 7: every escape that there is, and every ASCII character that is none
ESCAPES = '"\\/bfnrt'
VALID += [(f'"\\{c}"'.encode(), STRING) for c in ESCAPES]
INVALID = [(f'"\\{chr(c)}"'.encode(), NOT_JSON) for c in range(0x20, 0x7F) if chr(c) not in ESCAPES]
# Section 7: control characters stand in no string, and between tokens only four of them do
INVALID += [(b'"a' + bytes([c]) + b'b"', NOT_JSON) for c in range(0x20)]
INVALID += [(bytes([c]) + b"{}", NOT_JSON) for c in range(0x20) if bytes([c]) not in b"\t\n\r"]

INVALID += _lines(
    NOT_JSON,
    # literals
    "nul\nnulll\nNull\nNULL\nNone\nTrue\nTRUE\ntru\nfals\nFalse\nundefined\nnan\nNaN\n-NaN\nInfinity\n"
    "-Infinity\n+Infinity\ninf\n-inf\n[NaN]\n[Infinity]\n"
    '{"a":NaN}\n{"a":-Infinity}\n{"a":undefined}\n'
    # numbers
    "+1\n01\n-01\n00\n1.\n.5\n-.5\n1.e5\n1e\n1e+\n1e-\n1E\n1.5e\n0x1F\n0b1\n0o7\n1_000\n1,5\n- 1\n--1\n-\n"
    "1e5.5\n1 2\n1a\n1e5e5\n٣\n１\n-٣\n1f\n1L\n1n\n$1\n0.5.5\n-a\n"
    # strings
    '"\n"a\n\'a\'\n"a" "b"\n"a"b\n`a`\n“a”\n"a\\\n"\\"\n"\\u"\n"\\u1"\n"\\u12"\n"\\u123"\n"\\u123g"\n'
    '"\\u 123"\n"\\u+123"\n"\\u-123"\n"\\u0x12"\n"\\U00000041"\n"\\x41"\n"\\0"\n"\\\'"\n"\\u{41}"\na\n'
    # lists
    "[\n]\n[1\n1]\n[1,]\n[,1]\n[,]\n[1,,2]\n[1 2]\n[1;2]\n[1:2]\n(1)\n[[]\n[]]\n[1}\n[a]\n['a']\n[1,2\n"
    "[1]x\n[]{}\n[] []\n[1]]\n[...]\n"
    # objects
    '{\n}\n{"a"\n{"a":\n{"a":1\n{"a":1,}\n{,}\n{,"a":1}\n{"a"}\n{"a",1}\n{"a" 1}\n{"a":1 "b":2}\n'
    '{"a":1;"b":2}\n{a:1}\n{\'a\':1}\n{1:1}\n{null:1}\n{[]:1}\n{"a"::1}\n{"a":1,,"b":2}\n{"a":1}}\n'
    '{{}}\n{"a":1]\n{"a"=1}\n{"a":}\n{:1}\n{"a":1}{"a":2}\n{"a":1},\n{"a":1} x\n{"a":1}\\n\n'
    # what other languages allow
    '{"a":1}//x\n{"a":1}/**/\n/**/{}\n#x\n{"a":1} # x\n<a/>\na: 1\n- a\ncat,txt\nsports\tx\n'
    # spaces that are none
    "\xa0{}\n\u2003{}\n\u3000[]\n{\xa0}\n\x0b[]\n\x0c[]\n[1\u2028]",
)
INVALID += [
    (b"", NOT_JSON),
    (b" ", NOT_JSON),
    (b"\n", NOT_JSON),
    (b"\x00", NOT_JSON),
    (b"{}\x00", NOT_JSON),
    (b'{"a":\x001}', NOT_JSON),
    (b'{"a":1}\n{"a":2}', NOT_JSON),
    (b'{"a":1}\r{"a":2}', NOT_JSON),  # a lone CR is white space, and ends no line
    (b'"a\nb"', NOT_JSON),
    (b"[" * 100, NOT_JSON),
    (b'{"a":' * 100, NOT_JSON),
    (b"[" * 200 + b"]" * 199, NOT_JSON),
    (b"-" * 5000, NOT_JSON),
]

# Section 8.1: JSON is UTF-8
BAD_UTF8 = [
    b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2(\xa1",
    b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf0\x9f\x98",
    b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe",
    b"\xff", b"\xe9",
]  # fmt: skip
INVALID += [(b'{"cat": "' + bad + b'"}', NOT_UTF8) for bad in BAD_UTF8]
INVALID += [
    ("{}".encode("utf-16"), NOT_UTF8),
    ("{}".encode("utf-16-le"), NOT_JSON),  # NUL after each character
    ("{}".encode("utf-16-be"), NOT_JSON),
    ("{}".encode("utf-32-le"), NOT_JSON),
]

# Where the RFC leaves a choice: what we do
FREE = [
    # 8.1: a reader may pass over a byte order mark; ours does in the first line of a file alone
    (b"\xef\xbb\xbf{}", NOT_JSON),
    (b'{"a": "\xef\xbb\xbf"}', OBJECT),
    # 4: names should be unique; the object is read, the name is told
    (b'{"a":1,"a":2}', OBJECT),
    (b'{"a":1,"\\u0061":2}', OBJECT),
    (b'{"a":1,"b":2,"a":1}', OBJECT),
    (b'{"b":{"a":1,"a":2}}', OBJECT),
    # 6: range and precision of numbers; they are never used
    (b"1e999", NUMBER),
    (b"-1e999", NUMBER),
    (b"1e-999", NUMBER),
    (b"9" * 5000, NUMBER),
    (b"-" + b"9" * 5000, NUMBER),
    (b"0." + b"1" * 5000, NUMBER),
    (b"1e" + b"9" * 400, NUMBER),
    (b'{"a":123456789012345678901234567890}', OBJECT),
    # 8.2: escapes that are no character; the JSON is read, a text with one is set aside
    (rb'"\ud83d"', STRING),
    (rb'"\ude00"', STRING),
    (rb'"\ude00\ud83d"', STRING),
    (rb'"\ud83d\u0041"', STRING),
    (rb'"\ud83d\ud83d\ude00"', STRING),
    (rb'{"\ud83d":1}', OBJECT),
    # 9: depth may be limited; ours is 256
    (b"[" * 256 + b"]" * 256, LIST),
    (b"[" * 257 + b"]" * 257, TOO_DEEP),
    (b'{"a":' * 256 + b"1" + b"}" * 256, OBJECT),
    (b'{"a":' * 257 + b"1" + b"}" * 257, TOO_DEEP),
    (b"[" * 100_000, TOO_DEEP),
    (b"[" * 100_000 + b"]" * 100_000, TOO_DEEP),
    (b'["' + b"[" * 5000 + b'"]', LIST),  # brackets in a string nest nothing
    (b"[" + b"[]," * 5000 + b"[]]", LIST),  # many side by side neither
    (rb'["\"' + b"[" * 300 + b'"]', LIST),
    # 9: length of strings may be limited; a row of more than 16 MiB is set aside before
    (b'"' + b"a" * 1_000_000 + b'"', STRING),
    (b'{"' + b"a" * 100_000 + b'":1}', OBJECT),
]

VALID, INVALID, FREE = (list(dict.fromkeys(texts)) for texts in (VALID, INVALID, FREE))
TEXTS = [*VALID, *INVALID, *FREE]
