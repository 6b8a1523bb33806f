"""Several models side by side: tuned alike, trained, scored, and told in a report."""
