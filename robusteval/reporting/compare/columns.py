"""The columns of a comparison, found by name in what the records hold.

A name is `VIEW:METRIC` or `COMPONENT:METRIC`, a view (its accuracy, or the probe's own number), a metric (of the clean
view where it has it), an attack or corruption (every view of it), `corruptions` (the mean accuracy over each kind of
corrupted views), or a view at one radius of its curve, `pgd(eps=(1/255, 2/255)) at 1/255`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from robusteval.core import spec
from robusteval.core.errors import InputError, RobustevalError, nearest
from robusteval.metrics import METRICS
from robusteval.probes import parse_view
from robusteval.reporting import corruptions

PRESETS = ("paper", "accuracy", "calibration")

AFTER = " after temperature"
"""The end of the names of metrics after temperature scaling."""

_PLAIN = ("nll", "brier")  # in nats or squared distance; every other registered metric is a share, shown in %
_OWN = {"gamma": False, "median-distance": True}


@dataclass(frozen=True)
class Column:
    """One number per model: the mean of a metric over views, which is mostly one view.

    Attributes:
        label: its heading.
        views: of the record.
        metric: of the record.
        radius: of a curve, as it was written.
    """

    label: str
    views: tuple[str, ...]
    metric: str
    radius: str | None = None

    @property
    def base(self) -> str:
        """The metric before any recalibration."""
        return self.metric.partition(" after ")[0]

    @property
    def higher_is_better(self) -> bool | None:
        """The direction of improvement, where it is known."""
        known = METRICS.classes.get(self.base)
        return _OWN.get(self.metric) if known is None else known.higher_is_better

    @property
    def percent(self) -> bool:
        """Whether it is shown in %."""
        return self.base in METRICS.classes and not self.base.startswith(_PLAIN)

    @property
    def name(self) -> str:
        """What the command line calls it."""
        if len(self.views) > 1:
            return "corruptions"
        return f"{self.views[0]}:{self.metric}" if self.radius is None else f"{self.views[0]} at {self.radius}"


def _apart(column: Column) -> Column:
    """With the whole view in its label, as two curves may have a radius in common."""
    return column if len(column.views) > 1 else replace(column, label=column.name)


@dataclass(frozen=True)
class Catalogue:
    """Every column that records offer.

    Attributes:
        metrics: of the records.
    """

    metrics: pd.DataFrame

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each view, in the order of the record."""
        rows = self.metrics.drop_duplicates("view")
        return dict(zip(rows["view"].map(str), rows["kind"].map(str), strict=True))

    @cached_property
    def offered(self) -> dict[str, list[str]]:
        """The metrics of each view."""
        rows = self.metrics.dropna(subset=["metric"]).drop_duplicates(["view", "metric"])
        found = {view: list(part["metric"].map(str)) for view, part in rows.groupby("view", sort=False)}
        return {view: found.get(view, []) for view in self.kinds}

    def chosen(self, names: Sequence[str]) -> list[Column]:
        """The columns of these names, in their order, each once.

        Raises:
            InputError: a name is unknown, or fits several views.
        """
        return self._honest([column for name in names for column in self._named(name)])

    def preset(self, name: str) -> tuple[list[Column], list[str]]:
        """The columns of a preset that the records have, and what it would show beside them.

        Raises:
            InputError: there is no such preset, or the records have none of its columns.
        """
        if name not in PRESETS:
            raise InputError(f"preset={name!r}: {nearest(name, PRESETS)}")
        parts = {"paper": self._paper, "accuracy": self._accuracy, "calibration": self._calibration}[name]()
        columns = [column for found in parts.values() for column in found]
        if not columns:
            raise InputError(f"preset={name!r}: the report has none of its columns; name some with --columns")
        return self._honest(columns), [part for part, found in parts.items() if not found]

    def _paper(self) -> dict[str, list[Column]]:
        return {
            "clean": self._metric_of("clean", "accuracy"),
            "FGSM": self._component("fgsm"),
            "PGD": self._component("pgd"),
            "AutoAttack": self._component("autoattack"),
            "corruption mean": self._corruptions(),
            "ECE": self._metric_of("clean", "ece"),
            "ECE after temperature": self._metric_of("clean", f"ece{AFTER}"),
            "gamma": [c for view in self.kinds for c in self._metric_of(view, "gamma")],
        }

    def _accuracy(self) -> dict[str, list[Column]]:
        views = [view for view, metrics in self.offered.items() if "accuracy" in metrics]
        return {"accuracy": [column for view in views for column in self._radii(view)]}

    def _calibration(self) -> dict[str, list[Column]]:
        names = ("ece", f"ece{AFTER}", "nll", f"nll{AFTER}", "brier")
        found = {name: self._metric_of("clean", name) for name in names}
        others = [c for view in self.kinds if view != "clean" for c in self._metric_of(view, "ece")]
        return {**found, "ece of other views": others}

    def _honest(self, columns: list[Column]) -> list[Column]:
        """Each column once, and clean accuracy beside accuracy under attack (TRUST R30)."""
        attacked = any(self.kinds[c.views[0]] == "attack" and c.metric == "accuracy" for c in columns)
        clean = self._metric_of("clean", "accuracy") if attacked else []
        found = list(dict.fromkeys([*(c for c in clean if c not in columns), *columns]))
        labels = [column.label for column in found]
        return [_apart(column) if labels.count(column.label) > 1 else column for column in found]

    def _named(self, text: str) -> list[Column]:
        text = " ".join(text.split())
        if text == "corruptions" and (found := self._corruptions()):
            return found
        if (view := self._view(text)) is not None:
            return self._radii(view)
        return self._pair(text) or self._radius(text) or self._anywhere(text) or self._component(text) or self._no(text)

    def _pair(self, text: str) -> list[Column]:
        """`VIEW:METRIC`, or `COMPONENT:METRIC` for every view of it."""
        head, _, metric = (part.strip() for part in text.rpartition(":"))
        view = self._view(head) if head else None
        views = self._of_component(head) if view is None else [view]
        found = [column for view in views for column in self._metric_of(view, metric)]
        if views and not found:
            reason = nearest(metric, self.offered[views[0]])
            raise InputError(f"columns={text!r}: the view {views[0]} has no metric {metric!r}; {reason}")
        return found

    def _radius(self, text: str) -> list[Column]:
        """`VIEW at RADIUS`."""
        head, _, radius = text.rpartition(" at ")
        view = self._view(head) if head else None
        return [] if view is None else [column for column in self._radii(view) if column.radius == radius]

    def _anywhere(self, text: str) -> list[Column]:
        """A metric: of clean, else of the one view that has it."""
        views = [view for view, metrics in self.offered.items() if text in metrics]
        if "clean" in views or len(views) == 1:
            return self._metric_of("clean" if "clean" in views else views[0], text)
        if views:
            raise InputError(f"columns={text!r}: {len(views)} views have it; name one, as in '{views[0]}:{text}'")
        return []

    def _component(self, name: str) -> list[Column]:
        return [column for view in self._of_component(name) for column in self._radii(view)]

    def _of_component(self, name: str) -> list[str]:
        """The views of an attack or a corruption."""
        return list(map(str, self.metrics.loc[self.metrics["component"].eq(name), "view"].drop_duplicates()))

    def _no(self, text: str) -> list[Column]:
        metrics = {metric for offered in self.offered.values() for metric in offered}
        raise InputError(f"columns={text!r}: no view or metric of the report; {nearest(text, {*self.kinds, *metrics})}")

    def _view(self, text: str) -> str | None:
        """The view of the record that a text names, however it is spaced and whatever defaults it spells out."""
        if text in self.kinds:
            return text
        try:
            canonical = parse_view(text).spec
        except RobustevalError:  # it is a metric or a component, or nothing at all, which others say
            return None
        return canonical if canonical in self.kinds else None

    def _metric_of(self, view: str, metric: str) -> list[Column]:
        if metric not in self.offered.get(view, ()):
            return []
        if metric == "accuracy":
            return self._radii(view)
        alone = view == "clean" or (view, metric) == ("linearity", "gamma")
        return [Column(metric if alone else f"{metric}, {view}", (view,), metric)]

    def _radii(self, view: str) -> list[Column]:
        """The view's main number, at each radius of a curve."""
        if "accuracy" not in self.offered[view]:
            return self._metric_of(view, self.offered[view][0]) if self.offered[view] else []
        rows = self.metrics[self.metrics["view"].eq(view) & self.metrics["metric"].eq("accuracy")]
        radii = list(dict.fromkeys(rows["eps_text"].dropna()))
        if len(radii) < 2:
            return [Column(view, (view,), "accuracy")]
        parsed = spec.Spec.parse(view)
        bare = replace(parsed, arguments=tuple((key, value) for key, value in parsed.arguments if key != "eps"))
        return [Column(f"{bare} at {radius}", (view,), "accuracy", str(radius)) for radius in radii]

    def _corruptions(self) -> list[Column]:
        """The mean accuracy over the corrupted views of each kind, which alone may share a mean (TRUST R21, R23)."""
        return [
            Column(f"mean of {len(views)} {kind.label}" if len(views) > 1 else views[0], tuple(views), "accuracy")
            for kind, views in corruptions.kinds(self.metrics).items()
        ]
