"""What `locomt.train.augment` does to a batch: mixing, masks, jitter, dropping. Random numbers come from the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from locomt.data.batch import Batch

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from locomt.train.augment_config import AugmentConfig

GREY = 127.5
"""The pixel that the model sees as 0, as it sees padding of other kinds."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Share of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""
ASPECTS, TRIES = (3 / 4, 4 / 3), 10
"""Of random resized crops: the least and the largest width over height, and how often one is drawn until it fits."""
AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Values turned into floats at a time: as many as caches hold on a CPU, 256 MiB of them on a GPU."""


def mix(batch: Batch, share: float, partner: Tensor, nothing: Mapping[str, Tensor] = MappingProxyType({})) -> Batch:
    """Mixup: `share` of every sample and 1 - `share` of its partner, in all modalities and in the label alike.

    The shorter of the two, or the one that lacks a modality, counts as 0 beyond its end, which for frames is grey; the
    longer one's length is that of both. A modality is missing from a pair where both lack it.

    Args:
        batch: of float or uint8 inputs, and of labels that are numbers.
        share: in [0, 1].
        partner: int64 `[B]` on the CPU, a permutation.
        nothing: modality -> what counts for nothing in it, in place of 0.
    """
    inputs, lengths = {}, {}
    for name, tensor in batch.inputs.items():
        own = batch.lengths[name]
        inputs[name] = _mix_streams(tensor, own, share, partner, nothing.get(name, 0.0))
        lengths[name] = torch.maximum(own, own[partner])
    labels = share * batch.labels + (1 - share) * batch.labels[partner.to(batch.labels.device)]
    return replace(batch, inputs=inputs, lengths=lengths, labels=labels)


def _mix_streams(tensor: Tensor, lengths: Tensor, share: float, partner: Tensor, nothing: Tensor | float) -> Tensor:
    places = partner.to(tensor.device)
    whole = bool((lengths == tensor.shape[1]).all())
    real = (torch.arange(tensor.shape[1]) < lengths[:, None]).to(tensor.device)
    real = real.unflatten(1, (-1, *[1] * (tensor.ndim - 2)))
    frames = tensor.dtype == torch.uint8
    nothing = GREY if frames else nothing
    mixed = torch.empty_like(tensor)
    for part in _parts(tensor):
        first, second = tensor[part].float(), tensor[places[part]].float()
        if not whole:
            first = first.where(real[part], nothing)
            second = second.where(real[places[part]], nothing)
        result = share * first + (1 - share) * second
        mixed[part] = result.round().to(torch.uint8) if frames else result.to(tensor.dtype)
    return mixed


def mask_spectrograms(
    spectrograms: Float[Tensor, "batch time mels"],
    lengths: Tensor,
    config: AugmentConfig,
    rng: np.random.Generator,
    nothing: Tensor | float = 0.0,
) -> Float[Tensor, "batch time mels"]:
    """SpecAugment without its time warping: masked frames and bands become `nothing`, the mean of the data.

    Args:
        spectrograms: normalised.
        lengths: int64 `[B]` on the CPU: the real frames of each, within which its time masks lie.
        config: how many masks, and how wide at most.
        rng: where the numbers come from.
    """
    count, _, mels = spectrograms.shape
    frames = lengths.numpy()[:, None]
    bands = np.full((count, 1), mels)
    for axis, masks, widest, extent in (
        (1, config.time_masks, np.minimum(config.time_mask, frames // 2), frames),
        (2, config.frequency_masks, np.minimum(config.frequency_mask, bands), bands),
    ):
        if not masks:
            continue
        width = np.floor(rng.random((count, masks)) * (widest + 1))
        start = np.floor(rng.random((count, masks)) * (extent - width + 1))
        place = np.arange(spectrograms.shape[axis])
        hidden = ((place >= start[..., None]) & (place < (start + width)[..., None])).any(axis=1)
        mask = torch.from_numpy(hidden).to(spectrograms.device)
        spectrograms = spectrograms.where(~mask.unsqueeze(3 - axis), nothing)
    return spectrograms


def jitter_frames(
    frames: UInt8[Tensor, "batch time 3 size size"], config: AugmentConfig, rng: np.random.Generator
) -> UInt8[Tensor, "batch time 3 size size"]:
    """Scale jitter or random resized crops, mirroring and colour jitter: each the same for all frames of a clip.

    After the public configuration of MBT (Nagrani et al., NeurIPS 2021): crops of 224/340 to 224/230 of the shorter
    side of the picture, contrast and saturation times 0.6 to 1.4 in 0.8 of the clips, no colours in 0.1 of them. There
    height and width are scaled apart, brightness is shifted by up to 32/255, and the hue is jittered too.
    """
    moves_frames = config.scale or config.crop_area < 1 or config.flip
    if not (moves_frames or config.color or config.gray):
        return frames
    count = len(frames)
    side = 1 - config.scale * rng.random(count)
    width, height = crop_sizes(count, config.crop_area, rng) if config.crop_area < 1 else (side, side)
    # In units of half a frame, from its middle.
    centre = (2 * rng.random((2, count)) - 1) * (1 - np.stack([width, height]))
    mirror = np.where(rng.random(count) < config.flip, -1.0, 1.0)
    zero = np.zeros(count)
    theta = np.stack([np.stack([width * mirror, zero, centre[0]]), np.stack([zero, height, centre[1]])])  # [2, 3, B]
    factors = 1 + config.color * (2 * rng.random((3, count)) - 1)
    factors[:, rng.random(count) >= config.color_probability] = 1.0
    factors[2, rng.random(count) < config.gray] = 0.0
    moves = torch.from_numpy(theta).permute(2, 0, 1).to(frames.device, torch.float32)
    colors = torch.from_numpy(factors).T.to(frames.device, torch.float32)
    changed = torch.empty_like(frames)
    for part in _parts(frames):
        pixels = frames[part].float()
        if moves_frames:
            pixels = _move(pixels, moves[part])
        if config.color or config.gray:
            pixels = _recolor(pixels, colors[part])
        changed[part] = pixels.round().clamp(0, 255).to(torch.uint8)
    return changed


def crop_sizes(count: int, least: float, rng: np.random.Generator) -> Float[np.ndarray, "2 count"]:
    """Widths and heights of random resized crops, as shares of the frame (Szegedy et al., CVPR 2015).

    The area is even in [least, 1], the logarithm of width over height in that of `ASPECTS`. What does not fit into the
    frame is drawn anew; after `TRIES` times it is the whole frame.
    """
    area = least + (1 - least) * rng.random((TRIES, count))
    low, high = np.log(ASPECTS)
    aspect = np.exp(low + (high - low) * rng.random((TRIES, count)))
    sizes = np.stack([np.sqrt(area * aspect), np.sqrt(area / aspect)])
    fits = (sizes <= 1).all(axis=0)
    first = sizes[:, fits.argmax(axis=0), np.arange(count)]
    return np.where(fits.any(axis=0), first, 1.0)


def _move(pixels: Tensor, theta: Tensor) -> Tensor:
    """`[B, T, C, S, S]` at the places to which `[B, 2, 3]` maps the frame."""
    flat = pixels.flatten(1, 2)  # what all frames of a clip have in common is computed once
    grid = affine_grid(theta, [len(flat), 1, *flat.shape[2:]], align_corners=False)
    return grid_sample(flat, grid, padding_mode="border", align_corners=False).view_as(pixels)


def _recolor(pixels: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation of `[B, T, 3, S, S]` times the `[B, 3]` factors."""
    brightness, contrast, saturation = factors[:, :, None, None, None, None].unbind(1)
    weights = pixels.new_tensor(LUMINANCE)[:, None, None]
    pixels = pixels * brightness
    mean = (pixels.mean(dim=(1, 3, 4), keepdim=True) * weights).sum(dim=2, keepdim=True)
    pixels = mean + contrast * (pixels - mean)
    luminance = (pixels * weights).sum(dim=2, keepdim=True)
    return luminance + saturation * (pixels - luminance)


def drop_modalities(
    lengths: Mapping[str, Tensor], needed: Sequence[str], probability: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Lengths of 0 for modalities dropped from samples, each with `probability`.

    Args:
        lengths: int64 `[B]` each, on the CPU.
        needed: modalities of which a sample that has any keeps one.
        probability: in [0, 1).
        rng: where the numbers come from.
    """
    names = list(lengths)
    there = np.stack([lengths[name].numpy() > 0 for name in names], axis=1)
    luck = rng.random(there.shape)
    candidates = np.where(there & np.array([name in needed for name in names]), luck, -1.0)
    kept = (luck >= probability) | (np.arange(len(names)) == candidates.argmax(axis=1)[:, None])
    return {name: lengths[name] * torch.from_numpy(kept[:, i]) for i, name in enumerate(names)}


def _parts(tensor: Tensor) -> list[slice]:
    """The samples of a batch in parts of at most `AT_ONCE` values, but one sample at least."""
    size = max(1, AT_ONCE.get(tensor.device.type, AT_ONCE["cuda"]) // max(1, tensor[0].numel()))
    return [slice(start, start + size) for start in range(0, len(tensor), size)]
