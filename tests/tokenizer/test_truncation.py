from hypothesis import given
from hypothesis import strategies as st

from runwright.tokenizer.truncation import truncation_report


def test_rows_and_tokens_beyond_the_limit_are_counted():
    report = truncation_report([3, 10, 12], 10)
    assert (report.num_truncated_rows, report.num_lost_tokens, report.longest) == (1, 2, 12)
    assert report.describe() == (
        "max_length 10 cuts 1 of 3 rows (33.3%) and loses 2 of 25 tokens (8.0%); the longest has 12"
    )


def test_a_limit_that_cuts_nothing_says_so():
    assert truncation_report([3, 10], 10).describe() == (
        "max_length 10 cuts none of 2 rows; the longest has 10 tokens"
    )
    assert truncation_report([], 10).describe().startswith("max_length 10 cuts none of 0 rows")


@given(lengths=st.lists(st.integers(0, 1000)), max_length=st.integers(1, 1000))
def test_what_is_kept_and_what_is_lost_add_up(lengths, max_length):
    report = truncation_report(lengths, max_length)
    assert report.num_tokens - report.num_lost_tokens == sum(min(length, max_length) for length in lengths)
