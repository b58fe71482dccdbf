"""What is filled into PDF forms, in its place, and forms that PDFs only wrap."""

from __future__ import annotations

import pytest

from runners.documents.reader import read
from runners.errors import InvalidDocument
from tests.doubles.documents_doubles import Double
from tests.inputs.documents_made import form, typed

XFA = "/XFA 6 0 R"


def field(value: str, box: str, entries: str = "") -> str:
    return f"/Subtype /Widget /FT /Tx /T ({value}) /V ({value}) /Rect [{box}] {entries}"


def ticked(box: str, state: str) -> str:
    shapes = "/AP << /N << /Yes 6 0 R /Off 6 0 R >> >>"
    return f"/Subtype /Widget /FT /Btn /T ({box}) /V /{state} /AS /{state} /Rect [{box}] {shapes}"


def text_of(data: bytes) -> str:
    return read(data, "", Double()).text


@pytest.mark.parametrize("entries", ["", "/NeedAppearances true", XFA])
def test_values_stand_behind_their_labels(entries: str) -> None:
    fields = [field("Mireille Castagne", "240 665 540 685"), field("tidal mills", "240 625 540 645")]
    labels = typed(["Name of the applicant:", "Purpose:", "", "The committee answers by letter."], top=670, leading=40)
    expected = "Name of the applicant: Mireille Castagne\n\nPurpose: tidal mills\n\nThe committee answers by letter."
    assert text_of(form(fields, labels, entries)) == expected


def test_values_stand_below_the_labels_that_are_above_them() -> None:
    fields = [field("Anna Berg", "72 645 200 665"), field("12 May", "300 645 400 665")]
    labels = typed(["Name of the traveller"], top=668, size=8) + typed(["Date of birth"], 300, 668, 8)
    text = " ".join(text_of(form(fields, labels)).split())
    assert text == "Name of the traveller Anna Berg Date of birth 12 May"


def test_values_over_lines_to_write_on_stand_where_they_were_written() -> None:
    fields = [field("Anna", "105 765 250 780"), field("1 May", "300 765 390 780")]
    text = text_of(form(fields, typed(["Name: _________________________ Date: ______________"])))
    assert text.replace("_", "").split() == ["Name:", "Anna", "Date:", "1", "May"]


def test_boxes_say_whether_they_are_ticked() -> None:
    fields = [ticked("72 665 82 675", "Yes"), ticked("72 645 82 655", "Off"), ticked("200 625 210 635", "Yes")]
    labels = typed(["Married", "Single"], 90, 667, leading=20) + typed(["Retired"], 72, 627)
    assert text_of(form(fields, labels)).split() == ["☒", "Married", "☐", "Single", "Retired", "☒"]


def test_choices_are_shown_by_their_names() -> None:
    choice = "/Subtype /Widget /FT /Ch /Rect"
    fields = [
        f"{choice} [200 665 400 680] /T (a) /Ff 131072 /V (de) /Opt [[(de) (Germany)] [(fr) (France)]]",
        f"{choice} [200 600 400 645] /T (b) /Ff 2097152 /V [(cod) (eel)] /Opt [(cod) (eel) (pike)]",
    ]
    text = text_of(form(fields, typed(["Country:", "", "Fish:"], top=668)))
    assert text.split() == ["Country:", "Germany", "Fish:", "cod", "eel"]


def test_the_lines_of_a_value_keep_their_order() -> None:
    fields = [field(r"The first line of it\nand the second line", "200 600 500 680", "/Ff 4096")]
    text = text_of(form(fields, typed(["Reason:", "", "", "", "", "", "Signature"], top=668)))
    assert " ".join(text.split()) == "Reason: The first line of it and the second line Signature"


def test_what_a_form_does_not_show_is_not_read() -> None:
    fields = [field("secret", "200 665 400 680", "/F 2"), field("hunter2", "200 645 400 660", "/Ff 8192")]
    fields[0] = fields[0].replace("/Subtype", "/F 2 /Subtype")
    data = form([*fields, field("seen", "200 625 400 640")], typed(["Field:"], top=628)).replace(
        b"/F 4 /P 4 0 R /F 2", b"/F 2 /P 4 0 R"
    )
    assert text_of(data) == "Field: seen"


def test_a_note_that_is_typed_on_the_page_is_read() -> None:
    note = "/Subtype /FreeText /Contents (typed by hand) /DA (/F1 10 Tf 0 g) /Rect [200 665 400 680]"
    assert text_of(form([note], typed(["Remark:"], top=668))) == "Remark: typed by hand"


@pytest.mark.parametrize("root", ["/NeedsRendering true", ""])
def test_the_shell_of_an_xfa_form_is_named(root: str) -> None:
    shell = typed(["One moment, please.", "Your program cannot show the form that this file holds."])
    with pytest.raises(InvalidDocument, match="XFA form"):
        read(form([], shell, XFA, root), "", Double())
