import pytest
from pydantic import ValidationError

from seqrec.simulate import ShopSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"items": 50, "categories": 10}, "50 items are too few for 10 categories"),
        ({"follow": 0.7, "return_to": 0.4}, r"follow 0.7 \+ return_to 0.4 is above 1"),
        ({"events_mean": 5.0, "events_min": 6}, "events_mean 5 is below events_min 6"),
        ({"user": 5}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShopSettings.model_validate(wrong)
