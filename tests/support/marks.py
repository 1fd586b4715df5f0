"""Parts of pages that a command writes: each is between two marks, and what is around them is a person's."""

from pathlib import Path


def with_part(page: Path, name: str, command: str, content: str) -> str:
    """Returns the text of a page with new content between the marks of a part.

    Args:
        page: The page, which has the marks already.
        name: The part's name, such as ``fault matrix``.
        command: What writes it, such as ``make docs``.
        content: Markdown, without blank lines around it.

    Raises:
        ValueError: The page lacks a mark; the message has the line to add.
    """
    start, end = f"<!-- {name}: made by `{command}` -->", f"<!-- end of the {name} -->"
    head, found_start, rest = page.read_text().partition(start)
    _, found_end, tail = rest.partition(end)
    for mark, found in ((start, found_start), (end, found_end)):
        if not found:
            raise ValueError(f"{page.name} lacks the line {mark}: add it where the part belongs.")
    return f"{head}{start}\n\n{content}\n\n{end}{tail}"
