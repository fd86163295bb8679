from onceforall.report.words import amount, count, duration, listed, milliseconds, percent, safe, size


def test_numbers_as_people_read_them() -> None:
    assert percent(0.9716) == "97.2 %"
    assert percent(0.9716, 0.0088) == "97.2 ± 0.9 %"
    assert percent(None) == "–"
    assert count(1728) == "1,728"
    assert count(2.18e19) == "2.18 × 10¹⁹"
    assert count(None) == "–"
    assert amount(6_694_144) == "6.69 M"
    assert amount(566e6, "B") == "566 MB"
    assert amount(12.0) == "12"
    assert amount(None) == "–"
    assert size(2_613_004) == "2.61 MB"
    assert size(None) == "–"
    assert milliseconds(0.08637) == "0.0864 ms"
    assert milliseconds(None) == "–"


def test_durations() -> None:
    assert duration(0.25) == "0.25 s"
    assert duration(48.2) == "48 s"
    assert duration(59.7) == "1 min 00 s"
    assert duration(1450) == "24 min 10 s"
    assert duration(11_100) == "3 h 05 min"
    assert duration(None) == "–"


def test_text() -> None:
    assert safe("<a & 'b'>") == "&lt;a &amp; &#x27;b&#x27;&gt;"
    assert listed(["a", "b"]) == "a, b"
    assert listed(list(range(20)), 3) == "0, 1, 2 and 17 more"
