"""pages.py - what measurements write into docs/: a part between two marks, the rest is people's."""


def put(page, what, program, text):
    """text(what stood there) takes the place of what stands in the page between '<!-- WHAT: written by PROGRAM -->' and '<!-- end of WHAT -->'; ValueError
    where the page lacks either."""
    first, last = f"<!-- {what}: written by {program} -->\n", f"<!-- end of {what} -->\n"
    with open(page, encoding="utf-8") as f:
        head, begun, rest = f.read().partition(first)
    old, ended, tail = rest.partition(last)
    if not begun or not ended:
        raise ValueError(f"{page} lacks '{(last if begun else first).strip()}'")
    new = head + first + text(old) + last + tail
    with open(page, "w", encoding="utf-8") as f:
        f.write(new)
