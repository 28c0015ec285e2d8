"""What the venue writes on the wire: number and time text, frames, streams, and delays."""
