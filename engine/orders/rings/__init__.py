"""What crosses the rings of orders: commands, reports and account facts, and how they are
framed."""
