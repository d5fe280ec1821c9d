"""The report: one HTML page with tables and plots, which needs nothing but itself."""
