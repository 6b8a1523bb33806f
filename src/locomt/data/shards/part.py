"""One modality of one sample in a shard, read as the file would be that it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from locomt.data.errors import ShardError
from locomt.data.media.crop import Crop
from locomt.data.media.frame_times import FrameTimes, pick
from locomt.data.media.recording import Sound
from locomt.data.shards.encoding import decode_array, decode_image, decode_sound
from locomt.data.shards.tar import member_bytes, read_member

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

    from locomt.data.media.box import Box


class StoredPart:
    """One modality of one stored sample; of media it is a `Recording`.

    Args:
        tar: the shard.
        name: what the names of its members begin with.
        start: where the headers of the sample's parts begin.
        fields: what `stored_fields` said of the modality.
        part: the entry of the sample's JSON: `offset` from `start`; `members`, of each the end of its name, its size
            and its CRC-32; of media the `span` of the file; of a video the `total` frames of the clip, the `places`
            among them of those stored and the `seconds` at which all are shown; of a sound the `scale` of its samples
            and the second at which they `begin`; of features the `total` vectors of the file.
    """

    def __init__(self, tar: Path, name: str, start: int, fields: Mapping[str, Any], part: Mapping[str, Any]) -> None:
        self.tar, self.name, self.fields = tar, name, fields
        self.members = [(str(end), int(size), int(crc32)) for end, size, crc32 in part["members"]]
        self.total, self.scale = int(part.get("total", 0)), float(part.get("scale", 1))
        first, last = part.get("span", (0, 0))
        self.begin, self.span = float(part.get("begin", 0)), (float(first), float(last))
        self.places = [int(place) for place in part.get("places", ())]
        self.chosen = [int(place) for place in part.get("chosen", ())]
        self.times = _frame_times(part) if part.get("seconds") else None
        if not all(map(math.isfinite, (self.begin, *self.span))):
            raise ValueError("expected times in seconds")
        if not (self.members and 0 <= self.total < 2**32 and 0 < self.scale <= 2**128):
            raise ValueError(f"expected stored members, got {self.members} of {self.total}, scaled by {self.scale:g}")
        sizes = [member_bytes(size) for _, size, _ in self.members]
        self.offsets = list(accumulate(sizes, initial=start + int(part["offset"])))

    def __str__(self) -> str:
        return f"{self.tar}: {self.name}"

    def _bytes(self, place: int = 0) -> tuple[str, bytes]:
        end, size, crc32 = self.members[place]
        return end, read_member(self.tar, self.offsets[place], f"{self.name}.{end}", size, crc32)

    def sound_span(self, rate: int, stream: int | None = None) -> tuple[float, float]:
        return self.span

    def read_crops(
        self,
        count: int,
        crops: Sequence[Crop | None],
        *,
        size: int,
        stream: int | None = None,
        box: Box | None = None,
    ) -> list[UInt8[Tensor, "frames 3 size size"]]:
        """What `locomt.data.read_frames` gives for each of the crops, each frame being the nearest that is stored.

        Raises:
            DataError: the shard is damaged.
        """
        asked, kept = (stream, box and list(box)), (self.fields.get("stream"), self.fields.get("box"))
        assert asked == kept, f"checked when the shards were opened: {asked}"
        places = self.places
        if not 0 < len(places) == len(self.members) <= self.total:
            reason = f"expected frames at {len(places)} places of {self.total}, got {len(self.members)}"
            raise ShardError(str(self), reason)
        if not all(0 <= place < self.total for place in (*places, *self.chosen)):
            raise ShardError(str(self), f"expected places from 0 to {self.total - 1}, got others")
        if self.times is not None and len(self.times.begins) != self.total:
            raise ShardError(str(self), f"expected the times of {self.total} frames, got {len(self.times.begins)}")
        when: Sequence[float] = range(self.total)
        if self.times is not None and not self.times.even:
            when = self.times.begins
        stored = [when[place] for place in places]

        def wanted(crop: Crop | None) -> Sequence[int]:
            if crop is None and len(self.chosen) == count:
                return self.chosen
            return pick(self.total, self.times, count, crop)

        chosen = [
            [min(range(len(stored)), key=lambda n: abs(stored[n] - when[place])) for place in wanted(crop)]
            for crop in crops
        ]
        images = {n: decode_image(str(self), *self._bytes(n), size) for n in sorted(set().union(*chosen))}
        return [torch.stack([images[n] for n in part]) for part in chosen]

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        """What `locomt.data.read_audio` gives for the recording, and at what second of its clock that begins.

        Raises:
            DataError: the shard is damaged.
        """
        asked, stored = (rate, stream), (self.fields["rate"], self.fields.get("stream"))
        assert asked == stored, f"checked when the shards were opened: {asked}"
        samples = decode_sound(str(self), *self._bytes(), self.scale)
        return Sound(samples, self.begin, None if samples.any() else "all-zero audio throughout")

    def read_features(self, max_length: int) -> tuple[Float[Tensor, "time dim"], tuple[int, int]]:
        """The leading vectors, and the shape of the whole array that they were taken from.

        Raises:
            DataError: the shard is damaged.
        """
        features = decode_array(str(self), self._bytes()[1], ndim=2)
        return features[:max_length], (self.total, features.shape[1])


def _frame_times(part: Mapping[str, Any]) -> FrameTimes:
    """When the frames of a stored video are shown. Those prepared before their end was stored may have any unit."""
    begins = [float(second) for second in part["seconds"]]
    end = None if part.get("end") is None else float(part["end"])
    unit = float(part.get("unit", 0.001))
    if not all(abs(second) < 2**40 for second in (*begins, unit, end or 0)):
        raise ValueError("expected times in seconds")
    return FrameTimes(begins, end, unit)
