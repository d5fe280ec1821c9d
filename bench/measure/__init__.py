"""From log events to intervals, windows and figures. Pure functions of what the logs say."""
