"""What is wrong with a bundle."""


class BundleError(ValueError):
    """A folder that is no whole bundle of this version: says which file, what was expected and what to do."""
