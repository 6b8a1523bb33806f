"""Media files: containers, their packets, pictures and sound, by the decoders that there are."""
