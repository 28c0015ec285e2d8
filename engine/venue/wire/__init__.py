"""The venue's wire format: number and time text, frames, streams, and delays."""
