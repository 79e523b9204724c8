"""Pictures: what is drawn, where, and with which words."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
from matplotlib import pyplot

from one_cache.errors import InvalidArgument
from one_cache.trials import plot_peth, plot_raster, plot_raster_peth


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    pyplot.close("all")


def spike_lines(ax):
    return np.concatenate([c.get_segments() for c in ax.collections])


def test_each_spike_is_a_line_in_the_row_of_its_event():
    ax = plot_raster([0.5, 1.25, 3.5], [1.0, np.nan, 3.0], (-1, 1))
    assert spike_lines(ax)[:, :, 0].tolist() == [[-0.5] * 2, [0.25] * 2, [0.5] * 2]
    assert spike_lines(ax)[:, :, 1].tolist() == [[0, 1], [0, 1], [2, 3]]
    assert ax.get_ylim() == (3, 0)


def test_groups_are_drawn_together_in_order_of_appearance():
    ax = plot_raster([1, 2, 3], [1, 2, 3], (-0.1, 0.1), groups=["b", "a", "b"])
    assert spike_lines(ax)[:, 0, 1].tolist() == [0, 1, 2]
    colors = [tuple(c.get_color()[0]) for c in ax.collections]
    assert len(set(colors)) == 2


def test_the_mean_rate_is_drawn_over_its_bins():
    ax = plot_peth([1.1, 1.2, 3.1], [1.0, 3.0], (0, 1), bin_size=0.5)
    values, edges, _ = ax.patches[0].get_data()
    assert values.tolist() == [3.0, 0.0]
    assert edges.tolist() == [0, 0.5, 1]
    assert ax.get_ylabel() == "Rate (spikes/s)"


def test_raster_and_mean_share_the_time_axis_and_say_what_they_are():
    upper, lower = plot_raster_peth([1.1], [1.0, 2.0], (-1, 2), groups=[0, 1], title="unit 4")
    assert upper.get_xlim() == lower.get_xlim() == (-1, 2)
    assert upper.get_title() == "unit 4"
    texts = [text.get_text() for text in lower.get_legend().get_texts()]
    assert texts == ["0 (n = 1)", "1 (n = 1)"]


def test_given_axes_are_used_and_given_back():
    _, axs = pyplot.subplots(2)
    upper, lower = plot_raster_peth([1.1], [1.0], (-1, 2), axs=tuple(axs))
    assert upper is axs[0]
    assert lower is axs[1]


def test_no_spikes_and_no_events_still_make_a_picture():
    plot_raster_peth([], [1.0], (-1, 1))
    plot_raster_peth([1.0], [], (-1, 1))
    plot_raster_peth([1.0], [np.nan], (-1, 1))


def test_a_group_for_each_event_or_none():
    with pytest.raises(InvalidArgument, match="2 events, but 1 groups"):
        plot_raster([1.0], [1.0, 2.0], (-1, 1), groups=["a"])
