"""The private session: executions and balances in their order. For the private feed."""
