"""The table of options in ``docs/supervisor.rst``, from their declaration. Run it to write the table again."""

from __future__ import annotations

from pathlib import Path

from pytask_supervisor.config.options import TASKS_ONLY, Option, options
from pytask_supervisor.config.settings import QUESTIONS, plain

PAGE = Path(__file__).parents[3] / "docs" / "supervisor.rst"
BEGIN, END = ".. begin of the table of options\n", "\n.. end of the table of options"
HEADER = ("flag", "environment", "default", "meaning")


def rows() -> list[tuple[str, str, str, str]]:
    """Each option, and the two questions."""
    found = [_row(option) for option in options()]
    return found + [(f"``--{word}-config``", "", "", meaning) for word, meaning in QUESTIONS.items()]


def _row(option: Option) -> tuple[str, str, str, str]:
    flag = f"``{option.flag}``" if option.is_switch else f"``{option.flag} {option.metavar}``"
    default = "" if option.default in (None, ()) else f"``{plain(option.default)}``"
    notes = [] if option.in_file else ["not in the file"]
    notes += ["not reloadable"] if option.is_fixed else []
    help_text = option.help.replace("with --tasks: ", "only with ``--tasks``: ")
    assert ("only with" in help_text) == (option.name in TASKS_ONLY)
    return flag, f"``{option.environment}``", default, "; ".join([help_text, *notes])


def table() -> str:
    """As reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (HEADER, *rows()):
        for number, cell in enumerate(row):
            lines.append(f"   {'* -' if number == 0 else '  -'} {cell}".rstrip())
    return "\n".join(lines) + "\n"


def written() -> str:
    """The page with the table as it should be."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
