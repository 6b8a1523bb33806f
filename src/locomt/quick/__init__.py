"""From labelled clips to a trained, scored and reported model, without a recipe: what `locomt fit` does."""
