"""Results turned into text for people and for machines."""
