"""The engine process: starts actors, hands them their rings, restarts or stops them, and tells how they are."""
