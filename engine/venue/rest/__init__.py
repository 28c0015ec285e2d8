"""The venue's REST side: names and parameters, public and private calls, and their texts."""
