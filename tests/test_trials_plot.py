"""Pictures: what is drawn, where, and with which words."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
from matplotlib import pyplot

from one_cache.errors import InvalidArgument
from one_cache.trials import (
    align,
    event_windows,
    plot_aligned_activities,
    plot_peth,
    plot_raster,
    plot_raster_peth,
)


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


@pytest.fixture
def aligned():
    traces = np.array([np.zeros(100), np.arange(100.0)])
    windows = event_windows([2.0, 5.0, np.nan], (-1, 1), trial_id=[3, 8, 9])
    return align(traces, windows, rate=10, roi=[1, 2], unit="dF/F")


def test_the_heat_map_shows_the_trials_of_one_roi_over_time(aligned):
    heat, mean = plot_aligned_activities(aligned, roi=2, title="center button")
    image = heat.get_images()[0]
    np.testing.assert_array_equal(image.get_array().filled(np.nan), aligned.of(2))
    np.testing.assert_allclose(image.get_extent(), (-1.05, 1.05, 3, 0))
    assert [text.get_text() for text in heat.get_yticklabels()] == ["3", "8", "9"]
    assert heat.figure.get_suptitle() == "center button"
    assert mean.get_xlabel() == "Time from event (s)"
    assert mean.get_ylabel() == "dF/F"


def test_the_mean_and_its_spread_leave_out_what_is_nan(aligned):
    _, ax = plot_aligned_activities(aligned, roi=2)
    mean, event = ax.get_lines()
    np.testing.assert_allclose(mean.get_ydata(), np.arange(25, 46))
    assert list(event.get_xdata()) == [0, 0]
    band = ax.collections[0].get_paths()[0].vertices
    # two values 30 apart: standard error 15
    assert band[:, 1].min() == pytest.approx(25 - 15)
    assert band[:, 1].max() == pytest.approx(45 + 15)


def test_activities_are_drawn_on_given_axes(aligned):
    _, axs = pyplot.subplots(2)
    drawn = plot_aligned_activities(aligned, 1, axs)
    assert [drawn[0], drawn[1]] == list(axs)


def test_activities_without_an_event_or_roi_are_refused(aligned):
    with pytest.raises(InvalidArgument, match="no roi 7"):
        plot_aligned_activities(aligned, roi=7)
    empty = align(np.zeros((1, 9)), event_windows([np.nan], (-1, 1)), rate=1)
    with pytest.raises(InvalidArgument, match="nothing to draw"):
        plot_aligned_activities(empty, roi=0)
