"""Models as bundles that answer without locomt's training code: a graph and all that it takes."""
