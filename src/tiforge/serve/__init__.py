"""The daemon: the schedule and the deliveries in one process, until it is told to stop."""
