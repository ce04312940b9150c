"""What people and scripts read about the fleet: pure functions of one `View`, encoded as JSON with a stable schema."""
