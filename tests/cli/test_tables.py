"""What a command prints, whatever is in it."""

import json

import pytest

from engine.cli.tables import print_json, print_json_line, print_table


def test_a_cell_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Reasons and names may have brackets."""
    print_table(("reason",), [("[/x] and [bold]y",)], "nothing")

    assert capsys.readouterr().out.split("\n")[1].rstrip() == "[/x] and [bold]y"


def test_a_name_that_is_no_utf_8_is_printed_as_well_as_json_can(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file, as Python has it."""
    for show in (print_json, print_json_line):
        show({"file": "a\udcff"})
        assert json.loads(capsys.readouterr().out) == {"file": "a?"}
