"""Pages that one looks at: of a run, of a comparison, of a search. Each is one file that fetches nothing."""
