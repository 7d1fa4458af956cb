import gc

import pytest

from thaw.startup import uncollected


def test_garbage_is_collected_again_afterwards() -> None:
    gc.unfreeze()
    with uncollected():
        assert not gc.isenabled()
        kept = [[] for _ in range(10)]
    assert gc.isenabled() and gc.get_freeze_count() > len(kept)
    gc.unfreeze()


def test_an_error_inside_comes_out_with_the_collector_on() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.unfreeze()
