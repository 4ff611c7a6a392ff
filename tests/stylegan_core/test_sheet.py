"""Contact sheets."""

from __future__ import annotations

import torch

from stylegan_core.sheet import GAP_PX, compare, difference, grid, magnify, rows_of


def test_magnify_repeats_whole_pixels():
    images = torch.rand(2, 3, 16, 8) * 2 - 1
    large = magnify(images, 100)
    assert large.shape == (2, 3, 112, 56) and torch.equal(large[:, :, ::7, ::7], images)
    assert magnify(images, 10) is not None and magnify(images, 16).shape == images.shape


def test_grid_places_pictures_row_by_row():
    images = torch.linspace(-1, 0.5, 5).view(5, 1, 1, 1).expand(5, 1, 6, 4)
    sheet = grid(images, columns=3)
    assert sheet.shape == (1, 3, 2 * (6 + GAP_PX) + GAP_PX, 3 * (4 + GAP_PX) + GAP_PX)
    for index in range(5):
        top, left = GAP_PX + index // 3 * (6 + GAP_PX), GAP_PX + index % 3 * (4 + GAP_PX)
        torch.testing.assert_close(
            sheet[:, :, top : top + 6, left : left + 4], images[index : index + 1].expand(1, 3, 6, 4)
        )
    assert torch.all(sheet[:, :, -GAP_PX - 6 : -GAP_PX, -GAP_PX - 4 : -GAP_PX] == 1)  # the unused cell
    assert grid(images).shape == sheet.shape  # 5 pictures: 3 columns by default


def test_compare_shows_target_render_difference():
    target = torch.zeros(1, 3, 64, 64)
    render = target.clone()
    render[:, :, :32] = 0.25
    picture = compare(target, render)
    assert picture.shape == (1, 3, 256 + 2 * GAP_PX, 3 * 256 + 4 * GAP_PX)
    last = picture[:, :, GAP_PX:-GAP_PX, -GAP_PX - 256 : -GAP_PX]
    assert torch.all(last[:, :, 128:] == -1) and torch.all(last[:, :, :128] == 0)
    assert difference(target, target).max() == -1
    mask = torch.zeros(1, 1, 64, 64)
    assert compare(target, render, mask)[:, :, GAP_PX:-GAP_PX, -GAP_PX - 256 : -GAP_PX].max() == -1


def test_rows_may_differ_in_length():
    sheet = rows_of([torch.zeros(1, 3, 4, 4), torch.zeros(3, 1, 4, 4)])
    assert sheet.shape == (1, 3, 2 * (4 + GAP_PX) + GAP_PX, 3 * (4 + GAP_PX) + GAP_PX)
