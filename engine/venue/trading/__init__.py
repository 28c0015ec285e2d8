"""The venue's accounts: orders from admission to their end, fees, settlement, the ledger."""
