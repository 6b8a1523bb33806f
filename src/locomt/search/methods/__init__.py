"""The methods of `locomt search`, a module each; see `locomt.search.method.METHODS`."""
