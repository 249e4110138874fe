import numpy as np
import pandas as pd
import pytest

from robusteval.core.errors import InputError
from robusteval.reporting.figures import save
from robusteval.reporting.landscapes import contour, line, sheet, surface

AXIS = np.linspace(-1, 1, 5)


def plane(scale=1.0):
    a, b = (part.flatten() for part in np.meshgrid(AXIS, AXIS, indexing="ij"))
    return pd.DataFrame({"a": a, "b": b, "loss": scale * (0.1 + a**2 + 2 * b**2), "accuracy": 1 / (1 + a**2 + b**2)})


def ray():
    return pd.DataFrame({"a": AXIS, "loss": 0.1 + AXIS**2, "accuracy": 1 - AXIS**2 / 2})


def test_a_sheet_has_its_values_in_place_whatever_the_order():
    found = sheet(plane().sample(frac=1, random_state=0))
    assert found.a.tolist() == found.b.tolist() == AXIS.tolist()
    assert found.values[4, 2] == pytest.approx(1.1)
    assert found.values[2, 4] == pytest.approx(2.1)
    assert sheet(plane(), "accuracy").values[2, 2] == 100


@pytest.mark.parametrize("column", ["loss", "accuracy"])
@pytest.mark.parametrize("draw", [contour, surface])
@pytest.mark.parametrize("count", [1, 4])
def test_there_is_a_panel_for_each_model(draw, column, count, tmp_path):
    figure = draw({f"model {number}": plane(1 + number) for number in range(count)}, column)
    titled = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titled == [f"model {number}" for number in range(count)]
    save(figure, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_lines_have_the_points_of_their_grids():
    figure = line({"erm": ray(), "mixup": ray()}, "accuracy")
    first, second = figure.axes[0].get_lines()
    assert first.get_xdata().tolist() == AXIS.tolist()
    assert second.get_ydata().tolist() == (100 * ray()["accuracy"]).tolist()
    assert figure.axes[0].get_yscale() == "linear"
    assert line({"erm": ray()}).axes[0].get_yscale() == "log"


def test_equal_figures_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save(contour({"erm": plane()}), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("draw", [contour, surface])
def test_a_flat_landscape_and_one_at_zero_are_drawn(draw, tmp_path):
    flat, low = plane(0.0), plane().assign(loss=lambda grid: grid["a"].abs())
    for number, grids in enumerate(({"flat": flat}, {"low": low, "flat": flat})):
        save(draw(grids), tmp_path / f"{number}.png")


@pytest.mark.parametrize("draw", [contour, surface])
@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ({}, "at least one"),
        ({"a": plane().drop(columns="b")}, "column 'b'"),
        ({"a": plane().iloc[:-1]}, "one row for each pair"),
        ({"a": pd.concat([plane(), plane()])}, "one row for each pair"),
        ({"a": plane().assign(loss=np.nan)}, "finite"),
    ],
)
def test_what_is_no_grid_is_answered_with_the_rule(draw, grids, message):
    with pytest.raises(InputError, match=message):
        draw(grids)


def test_an_unknown_column_and_too_many_lines_are_refused():
    with pytest.raises(InputError, match="'loss' or 'accuracy'"):
        line({"a": ray()}, "a")
    with pytest.raises(InputError, match="1 to 9"):
        line({str(number): ray() for number in range(10)})
