"""The outside world: metric sources, alert channels, remedies, billing."""
