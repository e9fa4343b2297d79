"""How numbers are written."""

from metrics.numbers import (
    format_count,
    format_difference,
    format_interval,
    format_level,
    format_number,
    format_percent,
)


def test_no_percentage_reads_as_certain_or_impossible():
    values = [0.0, 0.0004, 0.001, 0.5, 0.999, 0.9996, 1.0]
    expected = ["0.0 %", "< 0.1 %", "0.1 %", "50.0 %", "99.9 %", "> 99.9 %", "100.0 %"]
    assert [format_percent(value) for value in values] == expected


def test_metrics_have_three_digits_and_undefined_ones_a_dash():
    assert [format_number(value) for value in (0.5, 1.6254, None)] == ["0.500", "1.625", "-"]
    assert [format_difference(value) for value in (0.25, -0.1, None)] == ["+0.250", "-0.100", "-"]
    assert format_interval((0.25, 1)) == "0.250 to 1.000"
    assert format_interval(None) == "no interval"


def test_chosen_fractions_have_as_many_digits_as_they_need():
    levels = (0.9, 0.95, 0.57, 0.005, 0.125)
    assert [format_level(value) for value in levels] == ["90 %", "95 %", "57 %", "0.5 %", "12.5 %"]


def test_thousands_are_separated():
    assert [format_count(count) for count in (7, 1502, 10_015)] == ["7", "1,502", "10,015"]
