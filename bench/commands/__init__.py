"""The verbs of ``ascend-bert``, one file each."""
