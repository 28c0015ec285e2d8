"""The trading session: order requests, and their replies. For the order router."""
