"""The backend `sdpa`: torch's own dense attention, called for every range of queries that sees the same keys."""
