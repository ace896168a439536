"""What people bring: their own networks, data sets, methods."""
