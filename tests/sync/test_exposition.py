import pytest

from sync.exposition import SERIES_MAX, Family, Sample, count, expose, labelled, one, seconds


def test_a_figure_that_is_not_known_is_left_out_and_is_not_0() -> None:
    shown = expose([one("a_seconds", "A.", None), one("b_rows", "B.", 0)])
    assert shown == b"# HELP b_rows B.\n# TYPE b_rows gauge\nb_rows 0\n"


def test_labels_and_counters_are_written_as_the_format_says() -> None:
    families = [
        labelled("c_rows", "C.", "lane", {"alarm": 1, "bulk": None}),
        count("d_bytes_total", "D.", 7),
        Family("e", "E.", [Sample(1.5, {"said": 'a"b\\c\nd'})]),
    ]
    assert expose(families).decode() == (
        '# HELP c_rows C.\n# TYPE c_rows gauge\nc_rows{lane="alarm"} 1\n'
        "# HELP d_bytes_total D.\n# TYPE d_bytes_total counter\nd_bytes_total 7\n"
        '# HELP e E.\n# TYPE e gauge\ne{said="a\\"b\\\\c\\nd"} 1.5\n'
    )


def test_moments_are_seconds() -> None:
    assert (seconds(1_500), seconds(None)) == (1.5, None)


def test_more_series_than_a_scrape_may_have_are_a_fault() -> None:
    many = labelled("f", "F.", "n", {str(n): n for n in range(SERIES_MAX)})
    with pytest.raises(AssertionError, match="bounded"):
        expose([many])
