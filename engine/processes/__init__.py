"""What every process of the engine shares: a child's launch and its runner, and what crosses between two of them."""
