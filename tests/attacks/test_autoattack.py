"""The cascade: survivors only, the worst case of each sample, and what the parts alone would say."""

import pytest

import robusteval
from robusteval.attacks import ATTACKS
from robusteval.core.errors import InputError
from robusteval.core.types import Batch

EPS = "0.5/255"
SMALL = "steps=10, targets=2, n_queries=30"


def test_the_standard_version_is_the_authors():
    specs = [search.spec for search in ATTACKS.parse("autoattack(eps=8/255)").searches]
    assert specs == ["apgd(eps=8/255)", "apgd(eps=8/255, loss='t')", "fab(eps=8/255)", "square(eps=8/255)"]
    assert ATTACKS.parse("autoattack(eps=8/255)").grade == "A"
    assert ATTACKS.parse("autoattack(eps=8/255, steps=50)").grade == "quick"


@pytest.mark.parametrize("field", ["steps", "targets", "n_queries"])
def test_budgets_have_a_rule(field):
    with pytest.raises(InputError, match=f"{field}=0: must be at least 1"):
        ATTACKS.parse(f"autoattack(eps=8/255, {field}=0)")


def test_it_breaks_what_its_parts_break_and_spends_less(resnet20, cifar):
    batch = Batch(*(tensor[:48] for tensor in cifar))
    whole = robusteval.attack(resnet20, batch.x, batch.y, f"autoattack(eps={EPS}, {SMALL})", ids=batch.ids)
    parts = [
        robusteval.attack(resnet20, batch.x, batch.y, spec, ids=batch.ids)
        for spec in (
            f"apgd(eps={EPS}, steps=10)",
            f"apgd(eps={EPS}, loss='t', steps=10, targets=2)",
            f"fab(eps={EPS}, steps=10, targets=2)",
            f"square(eps={EPS}, n_queries=30)",
        )
    ]
    assert whole.broken[parts[0].broken].all()
    assert int(whole.broken.sum()) >= max(int(part.broken.sum()) for part in parts)
    assert whole.forwards < sum(part.forwards for part in parts)
    assert whole.backwards < sum(part.backwards for part in parts)
