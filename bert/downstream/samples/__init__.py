"""Small made-up data sets in the published formats, and what generates them."""
