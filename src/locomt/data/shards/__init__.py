"""Shards: prepared samples in plain tars, and an index by which any of them is read alone.

A folder of shards holds

- `NAME.tar`: WebDataset tars. A sample is the members `KEY.json`, `KEY.MODALITY.NUMBER.jpg` (or `.png`) for frames,
  `KEY.MODALITY.flac` (or `.npy`) for sound, `KEY.MODALITY.npy` for features and `KEY.MODALITY.txt` for text, side by
  side; `KEY.json` comes first and says what the others are;
- `samples.jsonl`: a line for every row of the manifest, in its order: its cells, where its `KEY.json` lies, and why a
  modality could not be read where that is so;
- `shards.json`: what was stored and how, and the size and SHA-256 of every other file. It is written last: where it is,
  the rest is whole.
"""
