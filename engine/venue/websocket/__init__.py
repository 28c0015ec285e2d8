"""The venue's WebSocket side: public and private conversations, tokens, faults, captures served again."""
