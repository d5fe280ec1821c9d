"""Examines a machine before a run: is all there, does it fit together, and what to do if not.

Each examination gives findings with a status, a figure and a remedy. They run side by side, need no
privileges, change nothing but a file of their own in the results directory, and end in time also
when a tool hangs.
"""
