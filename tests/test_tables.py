"""Tables: aligned as text, escaped as HTML."""

import pytest

from vgglib.tables import Folded, Table, as_html, as_text

ROWS = [("layer", "size", "share"), ("conv1_1", "3", "1.5 %"), ("<b>&", "1,212", "-20 %")]


def test_text_is_to_the_left_and_numbers_to_the_right():
    assert as_text(ROWS).splitlines() == [
        "layer     size  share",
        "conv1_1      3  1.5 %",
        "<b>&     1,212  -20 %",
    ]


def test_lines_end_in_no_space():
    assert as_text([("name", "kind"), ("input", "x"), ("total", "")]).splitlines()[2] == "total"


def test_html_is_escaped_and_aligned():
    found = as_html(ROWS)
    assert '<td style="text-align: left">&lt;b&gt;&amp;</td>' in found
    assert '<td style="text-align: right">1,212</td>' in found
    assert '<th style="text-align: left">layer</th>' in found
    assert found.count("<tr>") == 3
    assert "<b>" not in found


@pytest.mark.parametrize("cell", ["1x", "conv3", "7 x 7", "1.5 MB"])
def test_what_is_no_number_stands_left(cell):
    assert as_text([("a long header", "z"), (cell, "z")]).splitlines()[1].startswith(cell)


@pytest.mark.parametrize("cell", ["", "-", "7", "-1.5", "+3", "1,212", "93.1 %", "93%"])
def test_numbers_and_gaps_stand_right(cell):
    assert as_text([("a long header", "z"), (cell, "z")]).splitlines()[1] == f"{cell:>13}  z"


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        as_text([("a", "b"), ("c",)])


def test_a_table_shows_itself():
    assert str(Table(ROWS)) == repr(Table(ROWS)) == as_text(ROWS)
    assert Table(ROWS)._repr_html_() == as_html(ROWS)


def test_folded_tables_keep_their_order_and_hide_nothing_from_a_terminal():
    found = Folded({"first <b>": ROWS, "second": ROWS[:2]})
    assert repr(found) == f"first <b>\n{as_text(ROWS)}\n\nsecond\n{as_text(ROWS[:2])}"
    html = found._repr_html_()
    assert html.count("<details><summary>") == html.count("</table></details>") == 2
    assert "first &lt;b&gt;</summary><table>" in html
