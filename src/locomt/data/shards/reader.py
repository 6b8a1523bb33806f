"""Reading shards: any sample of them alone."""

from __future__ import annotations

import json
from pathlib import Path

from locomt.data.config import DataConfig
from locomt.data.errors import ABSENT, DataError, ShardError
from locomt.data.kinds.source import Source
from locomt.data.row import Row
from locomt.data.shards.index import SAMPLES, read_index, read_samples, stored_fields
from locomt.data.shards.part import StoredPart
from locomt.data.shards.tar import member_bytes, read_member
from locomt.nn.config import ConfigError


class Shards:
    """The samples of a folder of shards, for reading one by one; can be sent to worker processes.

    Args:
        path: `shards.json`.
        config: what is to be read.

    Raises:
        ConfigError: the shards do not hold what the configuration asks for.
        ShardError: a shard is missing or has another size than it was written with.
    """

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.path, self.index = path, read_index(path)
        for name, source in config.modalities.items():
            self._check(name, source)
            if config.cut is not None and source.by_fps and self.index["storage"]["fps"] is None:
                raise ConfigError(
                    f"data.{config.cut} takes other frames than {path} holds; prepare the shards with --fps"
                )
        for name, shard in self.index["shards"].items():
            tar = path.with_name(name)
            if not tar.is_file():
                raise ShardError(tar, "there is no such file, but shards.json lists it")
            if (size := tar.stat().st_size) != shard["bytes"]:
                raise ShardError(tar, f"expected {shard['bytes']} bytes as in shards.json, got {size}; it is not whole")
        self.places = {row.id: place for row, place in read_samples(path)}

    def _check(self, name: str, source: Source) -> None:
        if not source.names_file:  # read from the row itself
            return
        known = self.index["modalities"]
        if name not in known:
            raise ConfigError(f"{self.path} holds {', '.join(known)}, and no {name!r}; prepare the data with it")
        stored = known[name]
        for field, asked in stored_fields(source).items():
            has = stored.get(field)
            if field in source.by_fps and self.index["storage"]["fps"] is not None:
                continue  # more is stored than the frames of the recipe, and the nearest are taken
            if has != asked and not (field in source.shorter and isinstance(has, int) and asked <= has):
                hint = " (with --fps any number can be had)" if field in source.by_fps else ""
                raise ConfigError(
                    f"data.modalities.{name}.{field} is {asked!r}, but the shards of {self.path} were prepared with "
                    f"{has!r}; prepare them again{hint}, or change it back"
                )

    def part(self, row: Row, modality: str) -> StoredPart:
        """One modality of a row which has it.

        Raises:
            DataError: it could not be read when the shards were made, or the shard is damaged; a `NoStreamError` or
                `SilentError` where the file lacked it.
        """
        place = self.places[row.id]
        if place is None:
            raise ShardError(self.path.with_name(SAMPLES), f"sample {row.id!r} is in none of the shards")
        if modality in place.failed:
            failure = place.failed[modality]
            raise ABSENT.get(failure["kind"], DataError)(failure["file"], failure["reason"])
        tar = self.path.with_name(place.shard)
        name = f"{place.key}.json"
        content = read_member(tar, place.offset, name, place.size, place.crc32)
        start = place.offset + member_bytes(place.size)
        try:
            part = json.loads(content)["parts"][modality]
            return StoredPart(tar, f"{place.key}.{modality}", start, self.index["modalities"][modality], part)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ShardError(tar, f"{name!r} is not what `locomt prepare` writes: {error!r:.200}") from None
