"""The methods of `locomt search`, a module each; see `locomt.search.question.METHODS`."""
