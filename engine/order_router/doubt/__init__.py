"""What became of orders in doubt: which questions to ask REST, and what the answers mean; pure but for `resolver`."""
