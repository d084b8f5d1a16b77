import pytest
import torch
from torch.nn import functional as F
from wenlan.modeling_brivl.region_pooling import grid_boxes, pool_regions


def sample_as_the_original(feature_map, boxes, image_size, num_samples=4):
    """Returns the mean of the original's samples, box by box: affine_grid and grid_sample, align_corners=False.

    The matrix divides by W - 1 as if corners were aligned, which the sampler does not do: hence the stretch.
    """
    height, width = feature_map.shape[-2:]
    pooled = []
    for image, image_boxes in zip(feature_map, boxes * height / image_size, strict=True):
        for x1, y1, x2, y2 in image_boxes.tolist():
            theta = torch.tensor(
                [
                    [(x2 - x1) / (width - 1), 0, (x1 + x2 - width + 1) / (width - 1)],
                    [0, (y2 - y1) / (height - 1), (y1 + y2 - height + 1) / (height - 1)],
                ]
            )
            grid = F.affine_grid(theta[None], (1, 1, num_samples, num_samples), align_corners=False)
            pooled.append(F.grid_sample(image[None], grid, padding_mode="zeros", align_corners=False).mean((2, 3)))
    return torch.cat(pooled).view(*boxes.shape[:2], -1)


def random_boxes(count, size, beyond=0.0):
    """Returns (2, count, 4) boxes with corners from -beyond to size + beyond."""
    corners = torch.rand(2, count, 2, 2) * (size + 2 * beyond) - beyond
    return torch.cat([corners.amin(dim=2), corners.amax(dim=2)], dim=-1)


@pytest.mark.parametrize("cells", [2, 3, 5, 12])
@pytest.mark.parametrize("count", [1, 7])
def test_pooling_equals_the_samples_of_the_original(cells, count):
    feature_map, boxes = torch.randn(2, 3, cells, cells), random_boxes(count, 100)
    expected = sample_as_the_original(feature_map, boxes, 100)
    torch.testing.assert_close(pool_regions(feature_map, boxes, image_size=100), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [1, 3, 6])
def test_any_number_of_samples_equals_the_original(num_samples):
    feature_map, boxes = torch.randn(2, 3, 5, 5), random_boxes(4, 100)
    expected = sample_as_the_original(feature_map, boxes, 100, num_samples)
    pooled = pool_regions(feature_map, boxes, image_size=100, num_samples=num_samples)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=0)


def test_boxes_that_leave_the_image_equal_the_original():
    feature_map, boxes = torch.randn(2, 3, 5, 5), random_boxes(9, 100, beyond=80.0)
    expected = sample_as_the_original(feature_map, boxes, 100)
    torch.testing.assert_close(pool_regions(feature_map, boxes, image_size=100), expected, atol=1e-5, rtol=0)


def test_box_outside_the_image_reads_zero():
    boxes = torch.tensor([[[300.0, 300.0, 400.0, 400.0]]])
    assert torch.equal(pool_regions(torch.randn(1, 3, 5, 5), boxes, image_size=100), torch.zeros(1, 1, 3))


def test_row_of_zeros_reads_a_quarter_of_the_first_cell():
    feature_map = torch.randn(1, 3, 5, 5)
    pooled = pool_regions(feature_map, torch.zeros(1, 1, 4), image_size=100)
    torch.testing.assert_close(pooled[0, 0], feature_map[0, :, 0, 0] / 4)


def test_stretched_samples_lie_at_the_positions_of_the_specification():
    """The last sixth of 15 cells is read at 13.23, 13.90, 14.57 and 15.24, of which 15.24 is outside."""
    one_hot_columns = torch.eye(15)[:, None, None, :].expand(15, 1, 15, 15)
    boxes = torch.tensor([[380.0, 0.0, 456.0, 456.0]]).expand(15, 1, 4)
    weights = pool_regions(one_hot_columns, boxes, image_size=456).flatten()
    positions = torch.tensor([13.2277, 13.8973, 14.5670, 15.2366])
    expected = [(1 - (positions - cell).abs()).clamp(min=0).mean().item() for cell in range(15)]
    assert weights.tolist() == pytest.approx(expected, abs=1e-4)
    assert weights.sum().item() == pytest.approx(1 - 0.39, abs=0.01)


def test_feature_map_of_one_cell_is_refused_with_stretched_boxes():
    with pytest.raises(ValueError, match="at least 2x2 cells"):
        pool_regions(torch.randn(1, 3, 1, 1), torch.tensor([[[0.0, 0.0, 9.0, 9.0]]]), image_size=9)


def test_feature_map_of_one_cell_is_its_value_without_stretching():
    feature_map = torch.randn(1, 3, 1, 1)
    boxes = torch.tensor([[[0.0, 0.0, 9.0, 9.0], [2.0, 3.0, 4.0, 8.0]]])
    pooled = pool_regions(feature_map, boxes, image_size=9, stretch_boxes=False)
    torch.testing.assert_close(pooled, feature_map.view(1, 1, 3).expand(1, 2, 3))


def test_unstretched_box_of_one_cell_reads_that_cell():
    feature_map = torch.randn(1, 3, 4, 4)
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    boxes = torch.stack([x, y, x + 1, y + 1], dim=-1).view(1, 16, 4) * 25
    pooled = pool_regions(feature_map, boxes, image_size=100, num_samples=1, stretch_boxes=False)
    torch.testing.assert_close(pooled, feature_map.flatten(2).transpose(1, 2))


def test_unstretched_whole_image_is_read_symmetrically():
    feature_map, boxes = torch.randn(1, 3, 5, 5), torch.tensor([[[0.0, 0.0, 100.0, 100.0]]])
    pooled = pool_regions(feature_map, boxes, image_size=100, stretch_boxes=False)
    flipped = pool_regions(feature_map.flip(2, 3), boxes, image_size=100, stretch_boxes=False)
    torch.testing.assert_close(flipped, pooled)


def test_pooling_does_not_depend_on_the_other_boxes():
    feature_map, boxes = torch.randn(2, 3, 5, 5), random_boxes(6, 100)
    together = pool_regions(feature_map, boxes, image_size=100)
    torch.testing.assert_close(together[:, 2:3], pool_regions(feature_map, boxes[:, 2:3], image_size=100))


def test_pooling_keeps_the_dtype_of_the_feature_map():
    pooled = pool_regions(torch.randn(2, 3, 5, 5).bfloat16(), random_boxes(2, 100), image_size=100)
    assert pooled.dtype == torch.bfloat16


def test_grid_cells_go_down_the_columns_with_x_outermost():
    expected = [[0, 0, 30, 30], [0, 30, 30, 60], [30, 0, 60, 30], [30, 30, 60, 60]]
    assert grid_boxes(60, [2]).tolist() == expected


def test_grid_scales_follow_one_another_in_the_given_order():
    assert grid_boxes(60, [1, 2])[0].tolist() == grid_boxes(60, [2, 1])[-1].tolist() == [0, 0, 60, 60]
    assert grid_boxes(456, (6, 1)).shape == (37, 4)


def test_gradient_of_one_image_equals_its_part_of_a_batch():
    """Behind a batch norm in evaluation mode, whose backward pass is wrong for some strides of a batch of one."""
    norm = torch.nn.BatchNorm2d(6).eval()
    maps, grid = torch.randn(2, 6, 3, 3), grid_boxes(72, (2, 1))

    def gradient(batch):
        batch = batch.clone().requires_grad_()
        pool_regions(norm(batch), grid.expand(len(batch), -1, -1), image_size=72).square().sum().backward()
        return batch.grad

    torch.testing.assert_close(gradient(maps[:1]), gradient(maps)[:1])
