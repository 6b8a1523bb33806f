"""From files to batches: manifests, decoding of media, spectrograms, text, features, padding."""
