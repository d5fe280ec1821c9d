"""The BERT model: maths and variable names of the published one, static shapes throughout."""
