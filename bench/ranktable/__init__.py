"""Rank tables: which device of which server is which rank, made, checked and converted.

Written to the documented rules of HCCL for CANN 20.2; three forms are read and written, see
:mod:`bench.ranktable.model`.
"""
