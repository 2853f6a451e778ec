"""The soonest of many timers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from golemp2p.core.dues import Dues

steps = st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 6), st.booleans()), max_size=40)


@given(steps)
def test_it_knows_what_a_look_at_all_of_them_would_find(steps: list[tuple[int, int | None, bool]]) -> None:
    dues, model = Dues(), dict[int, int]()
    for number, due_ns, is_asked in steps:
        dues.put(number, due_ns)
        if due_ns is None:
            model.pop(number, None)
        else:
            model[number] = due_ns
        if is_asked:
            assert dues.soonest_ns() == min(model.values(), default=None)
        assert dues.until(3) == [each for each, at in model.items() if at <= 3]
    assert dues.soonest_ns() == min(model.values(), default=None)
